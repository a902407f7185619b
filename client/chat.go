package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"serval"
)

// Bounds of a streamed answer.
const (
	maxEvent  = 1 << 20  // bytes of one line of it
	maxStream = 64 << 20 // bytes of its text, reasoning among it
)

// Chat asks a model to go on with a conversation, a *serval.Chat, by OpenAI's API, and sends its pieces, *serval.Delta, as they
// come. The last piece brings Finish and Usage. It is a serval.Handler. An error after the first piece ends the answer: what was
// sent is all there is. Tools, log-probabilities and several answers are not part of it.
func (c *Client) Chat(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	in, ok := req.Input.(*serval.Chat)
	if !ok {
		return serval.Errorf(serval.Unimplemented, "this client sends conversations only")
	}
	body, err := chatBody(req.Model, in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the server learns that nobody listens any more
	resp, err := c.open(ctx, "/v1/chat/completions", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := &chatReader{sink: sink, usage: &req.Usage}
	err = r.read(resp.Body)
	var e *serval.Error
	switch {
	case err == nil, r.refused != nil, errors.As(err, &e):
		return err
	case ctx.Err() != nil:
		return serval.AsError(ctx.Err())
	}
	return serval.Errorf(serval.Unavailable, "%s broke the answer off: %w", c.base, err).At("server")
}

// open sends JSON and returns an answer of status 2xx, whose body the caller closes.
func (c *Client) open(ctx context.Context, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "server address %q: %w", c.base, err).At("server")
	}
	req.Header.Set("Content-Type", "application/json")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what is there of it serves as the message
		return nil, refusal(resp, text)
	}
	return resp, nil
}

type chatRequest struct {
	Model             string         `json:"model"`
	Messages          []chatMessage  `json:"messages"`
	Stream            bool           `json:"stream"`
	StreamOptions     map[string]any `json:"stream_options"`
	MaxTokens         *int           `json:"max_tokens,omitempty"`
	Temperature       *float64       `json:"temperature,omitempty"`
	TopP              *float64       `json:"top_p,omitempty"`
	TopK              *int           `json:"top_k,omitempty"`
	MinP              *float64       `json:"min_p,omitempty"`
	RepetitionPenalty *float64       `json:"repetition_penalty,omitempty"`
	PresencePenalty   *float64       `json:"presence_penalty,omitempty"`
	FrequencyPenalty  *float64       `json:"frequency_penalty,omitempty"`
	Seed              *int64         `json:"seed,omitempty"`
	Stop              []string       `json:"stop,omitempty"`
	Format            any            `json:"response_format,omitempty"`
	Effort            string         `json:"reasoning_effort,omitempty"`
	Continue          bool           `json:"continue_final_message,omitempty"`
}

type chatMessage struct {
	Role      string `json:"role"`
	Content   string `json:"content"`
	Reasoning string `json:"reasoning_content,omitempty"`
}

// chatBody writes the request.
func chatBody(model serval.Ref, in *serval.Chat) ([]byte, error) {
	if len(in.Tools) > 0 || in.Logprobs != nil || in.N > 1 || in.PenaltyWindow != nil || len(in.Bias) > 0 || len(in.StopTokens) > 0 || len(in.Variables) > 0 {
		return nil, serval.Errorf(serval.Unimplemented, "this client sends a conversation without tools, log-probabilities, choices, token lists and variables of the template")
	}
	q := chatRequest{
		Model: model.String(), Stream: true, StreamOptions: map[string]any{"include_usage": true}, MaxTokens: in.Limit, Temperature: in.Temperature, TopP: in.TopP,
		TopK: in.TopK, MinP: in.MinP, RepetitionPenalty: in.RepetitionPenalty, PresencePenalty: in.PresencePenalty, FrequencyPenalty: in.FrequencyPenalty,
		Seed: in.Seed, Stop: in.Stop, Continue: in.Continue, Messages: make([]chatMessage, len(in.Messages)),
	}
	for i, m := range in.Messages {
		q.Messages[i] = chatMessage{Role: m.Role, Content: m.Content, Reasoning: m.Reasoning}
	}
	if in.Think != nil && !*in.Think {
		q.Effort = "none"
	}
	switch k := in.Constraint; {
	case k == nil:
	case k.Kind == "json_object":
		q.Format = map[string]any{"type": "json_object"}
	case k.Kind == "json_schema":
		if !json.Valid([]byte(k.Source)) {
			return nil, serval.Errorf(serval.InvalidArgument, "the schema is no JSON").At(k.Param)
		}
		q.Format = map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "answer", "strict": true, "schema": json.RawMessage(k.Source)}}
	default:
		return nil, serval.Errorf(serval.Unimplemented, "this client sends no constraint of kind %s", k.Kind).At(k.Param)
	}
	body, err := json.Marshal(&q)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "the request cannot be written as JSON: %w", err)
	}
	return body, nil
}

// chatReader reads server-sent events. It belongs to one goroutine.
type chatReader struct {
	sink    serval.Sink
	usage   *serval.Usage
	finish  serval.Finish
	text    int   // bytes so far
	refused error // what Send returned, but for ErrEnough
}

// chatEvent is a chat.completion.chunk, or an error in its place.
type chatEvent struct {
	Choices []struct {
		Delta struct {
			Content   string `json:"content"`
			Reasoning string `json:"reasoning_content"`
		} `json:"delta"`
		Finish string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		In         struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
		Out struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	} `json:"usage"`
	Error json.RawMessage `json:"error"`
}

func (r *chatReader) read(body io.Reader) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := readLine(lines)
		if err != nil {
			return err // the end before [DONE], too
		}
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok { // a comment, an empty line, or a field that this API does not use
			continue
		}
		if data = bytes.TrimSpace(data); string(data) == "[DONE]" {
			return r.end()
		}
		if err := r.event(data); err != nil {
			return err
		}
	}
}

// readLine reads a line of at most maxEvent bytes, without its end. It is valid until the next call.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		return bytes.TrimRight(line, "\r\n"), nil
	}
	long := append([]byte(nil), line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(long) > maxEvent {
			return nil, serval.Errorf(serval.TooLarge, "the server sent an event of more than %d bytes", maxEvent)
		}
		line, err = r.ReadSlice('\n')
		long = append(long, line...)
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(long, "\r\n"), nil
}

func (r *chatReader) event(data []byte) error {
	var e chatEvent
	if err := json.Unmarshal(data, &e); err != nil {
		return serval.Errorf(serval.Internal, "the server's answer is not as OpenAI's API says: %w", err)
	}
	if len(e.Error) > 0 && string(e.Error) != "null" {
		return streamError(e.Error)
	}
	if u := e.Usage; u != nil {
		*r.usage = serval.Usage{Prompt: u.Prompt, Cached: u.In.Cached, Completion: u.Completion, Reasoning: u.Out.Reasoning}
	}
	if len(e.Choices) == 0 {
		return nil
	}
	c := &e.Choices[0]
	if c.Finish != "" {
		r.finish = serval.Finish(c.Finish)
	}
	if c.Delta.Content == "" && c.Delta.Reasoning == "" {
		return nil
	}
	if r.text += len(c.Delta.Content) + len(c.Delta.Reasoning); r.text > maxStream {
		return serval.Errorf(serval.TooLarge, "the answer has more than %d bytes", maxStream)
	}
	return r.send(&serval.Chunk{Output: &serval.Delta{Text: c.Delta.Content, Reasoning: c.Delta.Reasoning}})
}

// end sends what is known once all is there.
func (r *chatReader) end() error {
	if r.finish == serval.More {
		r.finish = serval.Stop
	}
	return r.send(&serval.Chunk{Output: &serval.Delta{}, Finish: r.finish, Usage: *r.usage})
}

func (r *chatReader) send(c *serval.Chunk) error {
	err := r.sink.Send(c)
	if errors.Is(err, serval.ErrEnough) {
		err = nil // the rest is empty
	}
	r.refused = err
	return err
}

// streamError is an error that came in the place of an event.
func streamError(raw json.RawMessage) *serval.Error {
	o := readError(raw)
	if o.Message == "" {
		o.Message = "the server ended the answer with an error: " + clip(string(raw))
	}
	code, ok := errorCodes[o.Type]
	if !ok {
		code = serval.Internal
	}
	return serval.Errorf(code, "%s", o.Message).At(o.Param).Named(o.Code)
}

// errorCodes are the classes of OpenAI's types of error.
var errorCodes = map[string]serval.Code{
	"authentication_error": serval.Unauthenticated, "permission_error": serval.PermissionDenied, "not_found_error": serval.NotFound,
	"rate_limit_error": serval.ResourceExhausted, "overloaded_error": serval.Unavailable, "server_error": serval.Internal, "invalid_request_error": serval.InvalidArgument,
}

// wireError is an error as OpenAI's API writes it; others write a text.
type wireError struct{ Message, Type, Param, Code string }

// readError reads {"message": …} or a text; of what is neither it gives nothing.
func readError(raw json.RawMessage) wireError {
	var e wireError
	if json.Unmarshal(raw, &e.Message) == nil && e.Message != "" {
		return e
	}
	var o struct{ Message, Type, Param, Code any } // some servers write numbers
	if json.Unmarshal(raw, &o) != nil {
		return wireError{}
	}
	text := func(v any) string {
		s, _ := v.(string)
		return s
	}
	return wireError{text(o.Message), text(o.Type), text(o.Param), text(o.Code)}
}

func clip(s string) string {
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// Spoken is what a server says of a model of text.
type Spoken struct {
	Context  int // most tokens of a conversation and its answer; 0: not said
	Generate bool
	Embed    bool
}

// Spoken describes a model of text. A model that is none is an InvalidArgument, an unknown one a NotFound that names those that
// there are. A server that cannot tell is Unimplemented.
func (c *Client) Spoken(ctx context.Context, ref serval.Ref) (Spoken, error) {
	var said struct {
		Capabilities []string       `json:"capabilities"`
		Info         map[string]any `json:"model_info"`
	}
	if err := c.call(ctx, http.MethodPost, "/api/show", map[string]string{"model": ref.String()}, &said); err != nil {
		e := serval.AsError(err)
		if e.Code == serval.NotFound && !strings.Contains(e.Message, ref.Name) || e.Code == serval.Internal {
			return Spoken{}, serval.Errorf(serval.Unimplemented, "%s does not describe its models", c.base).Because(err)
		}
		return Spoken{}, err
	}
	s := Spoken{}
	for _, word := range said.Capabilities {
		s.Generate = s.Generate || word == "completion"
		s.Embed = s.Embed || word == "embedding"
	}
	for name, v := range said.Info {
		if n, ok := v.(float64); ok && strings.HasSuffix(name, ".context_length") && n > 0 && n < 1<<40 {
			s.Context = int(n)
		}
	}
	return s, nil
}
