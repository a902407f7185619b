package openai

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"serval"
	"serval/internal/jsontensor"
	"serval/protocol"
)

// chatStream writes an answer's pieces as chat.completion.chunk events, and belongs to the request's goroutine.
type chatStream struct {
	events    *protocol.Events
	head      []byte // {"id":…,"choices":[{"index":
	begun     []bool // choices whose role was sent
	final     bool   // a last event has the usage
	always    bool   // every event has it
	functions bool   // calls are told in their older form
	buf       []byte
	usage     serval.Usage
}

func newChatStream(w http.ResponseWriter, head answerHead, n int, g *generation) *chatStream {
	s := &chatStream{events: protocol.NewEvents(w), begun: make([]bool, n)}
	if g.StreamOptions != nil {
		s.final, s.always = g.StreamOptions.IncludeUsage, g.StreamOptions.ContinuousUsage
	}
	s.head = jsontensor.AppendString([]byte(`data: {"id":`), head.ID)
	s.head = append(s.head, `,"object":"chat.completion.chunk","created":`...)
	s.head = strconv.AppendInt(s.head, head.Created, 10)
	s.head = jsontensor.AppendString(append(s.head, `,"model":`...), head.Model)
	s.head = append(s.head, `,"system_fingerprint":null,"choices":[`...)
	return s
}

// run answers the request. What goes wrong before the first event is returned; later it is an event of its own.
func (s *chatStream) run(h serval.Handler, r *http.Request, req *serval.Request) error {
	defer s.events.Close()
	err := h.Handle(r.Context(), req, s)
	if err != nil {
		if !s.events.Begun() {
			return err
		}
		_ = s.events.Write(append(append([]byte("data: "), errorBody(serval.AsError(err))...), "\n\ndata: [DONE]\n\n"...))
		return nil
	}
	s.buf = s.buf[:0]
	if s.final {
		s.buf = append(append(s.buf, s.head...), `],"usage":`...)
		s.buf = append(appendUsage(s.buf, req.Usage), "}\n\n"...)
	}
	_ = s.events.Write(append(s.buf, "data: [DONE]\n\n"...))
	return nil
}

// Send writes a piece.
func (s *chatStream) Send(c *serval.Chunk) error {
	d, err := delta(c)
	if err != nil {
		return err
	}
	s.usage.Add(c.Usage)
	b := s.buf[:0]
	if !s.begun[c.Choice] {
		s.begun[c.Choice] = true
		b = s.begin(b, c.Choice)
		b = append(b, `"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}`...)
		b = s.end(b)
	}
	if d.Text != "" || d.Reasoning != "" || len(d.Calls) > 0 || len(d.Logprobs) > 0 {
		b = s.begin(b, c.Choice)
		b = appendDelta(append(b, `"delta":{`...), d, s.functions)
		b = append(b, `},"logprobs":`...)
		if b, err = appendLogprobs(b, d.Logprobs); err != nil {
			return err
		}
		b = s.end(append(b, `,"finish_reason":null}`...))
	}
	if c.Finish != serval.More {
		b = s.begin(b, c.Choice)
		finish := string(c.Finish)
		if s.functions && c.Finish == serval.Called {
			finish = "function_call"
		}
		b = jsontensor.AppendString(append(b, `"delta":{},"logprobs":null,"finish_reason":`...), finish)
		b = s.end(append(b, '}'))
	}
	s.buf = b
	if len(b) == 0 {
		return nil
	}
	return s.events.Write(b)
}

func (s *chatStream) begin(b []byte, choice int) []byte {
	b = append(append(b, s.head...), `{"index":`...)
	return append(strconv.AppendInt(b, int64(choice), 10), ',')
}

func (s *chatStream) end(b []byte) []byte {
	switch {
	case s.always:
		b = appendUsage(append(b, `],"usage":`...), s.usage)
	case s.final:
		b = append(b, `],"usage":null`...)
	default:
		b = append(b, ']')
	}
	return append(b, "}\n\n"...)
}

func appendDelta(b []byte, d *serval.Delta, functions bool) []byte {
	first := true
	comma := func() {
		if !first {
			b = append(b, ',')
		}
		first = false
	}
	if d.Text != "" {
		comma()
		b = jsontensor.AppendString(append(b, `"content":`...), d.Text)
	}
	if d.Reasoning != "" {
		comma()
		b = jsontensor.AppendString(append(b, `"reasoning_content":`...), d.Reasoning)
	}
	if len(d.Calls) > 0 && functions {
		comma()
		b = append(appendFunction(append(b, `"function_call":`...), &d.Calls[0]), '}')
	} else if len(d.Calls) > 0 {
		comma()
		b = append(b, `"tool_calls":[`...)
		for i, c := range d.Calls {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(append(b, `{"index":`...), int64(c.Index), 10)
			if c.ID != "" {
				b = jsontensor.AppendString(append(b, `,"id":`...), c.ID)
				b = append(b, `,"type":"function"`...)
			}
			b = append(appendFunction(append(b, `,"function":`...), &c), "}}"...)
		}
		b = append(b, ']')
	}
	return b
}

// appendFunction appends {"name":…,"arguments":… without its end.
func appendFunction(b []byte, c *serval.CallDelta) []byte {
	b = append(b, '{')
	if c.Name != "" {
		b = jsontensor.AppendString(append(b, `"name":`...), c.Name)
		b = append(b, ',')
	}
	return jsontensor.AppendString(append(b, `"arguments":`...), c.Arguments)
}

func appendLogprobs(b []byte, list []serval.TokenText) ([]byte, error) {
	if len(list) == 0 {
		return append(b, "null"...), nil
	}
	l := logprobs{}
	for i := range list {
		l.Content = append(l.Content, tokenLogprobOf(&list[i], true))
	}
	text, err := json.Marshal(&l)
	return append(b, text...), err
}

func appendUsage(b []byte, u serval.Usage) []byte {
	text, err := json.Marshal(usageOf(u))
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// validText is a token's bytes as text; what is no character by itself is shown as OpenAI does, bytes:\xe2\x80.
func validText(b []byte) string {
	s := string(b)
	if strings.ToValidUTF8(s, "") == s {
		return s
	}
	var t strings.Builder
	t.WriteString("bytes:")
	const hex = "0123456789abcdef"
	for _, c := range b {
		t.WriteString(`\x`)
		t.WriteByte(hex[c>>4])
		t.WriteByte(hex[c&15])
	}
	return t.String()
}
