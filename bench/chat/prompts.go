package chat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"serval"
)

const (
	maxPrompts = 1 << 20
	maxLine    = 16 << 20
	maxFile    = 1 << 30
)

// ReadPrompts reads JSON lines, each an object with messages (a list, as a chat's request has them) or prompt (a text), and
// perhaps max_tokens. Other names are ignored; empty lines, too.
func ReadPrompts(r io.Reader) ([]Prompt, error) {
	var list []Prompt
	sc := bufio.NewScanner(io.LimitReader(r, maxFile+1))
	sc.Buffer(nil, maxLine)
	size := 0
	for number := 1; sc.Scan(); number++ {
		bad := func(format string, args ...any) ([]Prompt, error) {
			return nil, serval.Errorf(serval.InvalidArgument, "line %d: "+format, append([]any{number}, args...)...).At("file")
		}
		if size += len(sc.Bytes()) + 1; size > maxFile || len(list) >= maxPrompts {
			return bad("more than %d prompts or %d MB", maxPrompts, maxFile>>20)
		}
		raw := bytes.TrimSpace(sc.Bytes())
		if len(raw) == 0 {
			continue
		}
		var line struct {
			Messages  []json.RawMessage
			Prompt    *string
			MaxTokens int `json:"max_tokens"`
		}
		if err := json.Unmarshal(raw, &line); err != nil {
			return bad("%v", err)
		}
		p := Prompt{MaxTokens: line.MaxTokens}
		switch {
		case line.MaxTokens < 0 || line.MaxTokens > maxLength:
			return bad("max_tokens is %d; it goes from 1 to %d", line.MaxTokens, maxLength)
		case len(line.Messages) > 0 && line.Prompt != nil:
			return bad("it has messages and prompt; leave one out")
		case len(line.Messages) > 0:
			p.messages = compact(line.Messages)
		case line.Prompt != nil:
			text, err := json.Marshal(*line.Prompt)
			if err != nil {
				return bad("%v", err)
			}
			p.text = text
		default:
			return bad("it has neither messages nor prompt")
		}
		list = append(list, p)
	}
	if err := sc.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, serval.Errorf(serval.InvalidArgument, "a line has more than %d MB", maxLine>>20).At("file")
	} else if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "no prompts; write lines of {\"prompt\": \"…\"} or {\"messages\": […]}").At("file")
	}
	return list, nil
}

// compact is a list of JSON values on one line.
func compact(list []json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	out.WriteByte('[')
	for i, m := range list {
		if i > 0 {
			out.WriteByte(',')
		}
		_ = json.Compact(&out, m) // Unmarshal has read it
	}
	out.WriteByte(']')
	return out.Bytes()
}
