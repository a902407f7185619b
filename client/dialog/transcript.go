package dialog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"serval"
)

const mostTranscript = 64 << 20 // bytes of a file

// turn is a message as files hold it, OpenAI's form.
type turn struct {
	Role      string `json:"role"`
	Content   string `json:"content"`
	Reasoning string `json:"reasoning_content,omitempty"`
}

// writeTranscript writes a conversation as a list of messages. A file that is there is only replaced if that is wanted.
func writeTranscript(file, system string, messages []serval.Message, replace bool) error {
	var list []turn
	if system != "" {
		list = append(list, turn{Role: "system", Content: system})
	}
	for _, m := range messages {
		list = append(list, turn{m.Role, m.Content, m.Reasoning})
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(list); err != nil {
		return err
	}
	if _, err := os.Stat(file); err == nil && !replace {
		return fmt.Errorf("%s is there; /save -f FILE replaces it", file)
	}
	// A conversation is nobody else's business; and it is there whole or not at all.
	f, err := os.CreateTemp(filepath.Dir(file), ".save-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // there is none after the rename
	_, err = f.Write(out.Bytes())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// loadTranscript reads such a file.
func loadTranscript(file string) (system string, messages []serval.Message, err error) {
	raw, err := readSome(file, mostTranscript)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("there is no file %s", file)
	}
	if err != nil {
		return "", nil, err
	}
	system, messages, err = readTranscript(raw)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, err)
	}
	return system, messages, nil
}

// readTranscript reads a list of messages, or an object that has one as messages. A system message may stand first.
func readTranscript(raw []byte) (system string, messages []serval.Message, err error) {
	var list []turn
	if text := bytes.TrimSpace(raw); len(text) > 0 && text[0] == '{' {
		var o struct {
			Messages []turn `json:"messages"`
		}
		err = json.Unmarshal(raw, &o)
		list = o.Messages
	} else {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		return "", nil, fmt.Errorf("it must hold a list of messages, as in [{\"role\": \"user\", \"content\": \"…\"}]: %w", err)
	}
	if len(list) == 0 {
		return "", nil, errors.New("it holds no messages")
	}
	for i, t := range list {
		switch {
		case t.Role == "system" && i == 0:
			system = t.Content
		case t.Role == "user" || t.Role == "assistant":
			messages = append(messages, serval.Message{Role: t.Role, Content: t.Content, Reasoning: t.Reasoning})
		default:
			return "", nil, fmt.Errorf("message %d has the role %q; it must be user or assistant, of the first one system, too", i+1, t.Role)
		}
	}
	return system, messages, nil
}

// home makes ~/ the user's folder.
func home(file string) string {
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		if dir, err := os.UserHomeDir(); err == nil {
			return filepath.Join(dir, rest)
		}
	}
	return file
}
