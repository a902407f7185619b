package anthropic

import (
	"encoding/json"
	"net/http"

	"serval"
	"serval/protocol"
)

// stream writes an answer's pieces as events, and belongs to the request's goroutine.
type stream struct {
	events *protocol.Events
	answer *answer // its Content counts the blocks; their text is not kept
	open   int     // the block that was begun; -1: none
	buf    []byte
	usage  serval.Usage
}

// run answers the request. What goes wrong before the first event is returned; later it is an event of its own.
func (s *stream) run(h serval.Handler, r *http.Request, req *serval.Request) error {
	defer s.events.Close()
	if err := h.Handle(r.Context(), req, s); err != nil {
		if !s.events.Begun() {
			return err
		}
		_ = s.events.Write(append(append([]byte("event: error\ndata: "), errorBody(serval.AsError(err))...), "\n\n"...))
	}
	return nil
}

// Send writes a piece.
func (s *stream) Send(c *serval.Chunk) error {
	d, err := delta(c)
	if err != nil {
		return err
	}
	s.buf = s.buf[:0]
	first := !s.events.Begun()
	s.usage.Add(c.Usage)
	if first {
		s.answer.Usage = usageOf(s.usage)
		s.event("message_start", map[string]any{"type": "message_start", "message": s.answer})
		s.event("ping", map[string]any{"type": "ping"})
	}
	if d.Reasoning != "" {
		s.begin("thinking", 0, map[string]any{"type": "thinking", "thinking": "", "signature": ""})
		s.delta(map[string]any{"type": "thinking_delta", "thinking": d.Reasoning})
	}
	if d.Text != "" {
		s.begin("text", 0, map[string]any{"type": "text", "text": ""})
		s.delta(map[string]any{"type": "text_delta", "text": d.Text})
	}
	for _, call := range d.Calls {
		s.begin("tool_use", call.Index, map[string]any{"type": "tool_use", "id": call.ID, "name": call.Name, "input": struct{}{}})
		if call.Arguments != "" {
			s.delta(map[string]any{"type": "input_json_delta", "partial_json": call.Arguments})
		}
	}
	if c.Finish != serval.More {
		s.stop()
		s.answer.stop(c.Finish, d.StopText)
		s.event("message_delta", map[string]any{
			"type": "message_delta", "delta": map[string]any{"stop_reason": s.answer.StopReason, "stop_sequence": s.answer.StopSequence}, "usage": usageOf(s.usage),
		})
		s.event("message_stop", map[string]any{"type": "message_stop"})
	}
	if len(s.buf) == 0 {
		return nil
	}
	return s.events.Write(s.buf)
}

// begin begins a block, unless it is the one that is open.
func (s *stream) begin(kind string, index int, block map[string]any) {
	before := len(s.answer.Content)
	s.answer.block(kind, index)
	if len(s.answer.Content) == before {
		return
	}
	s.stop()
	s.open = before
	s.event("content_block_start", map[string]any{"type": "content_block_start", "index": s.open, "content_block": block})
}

func (s *stream) delta(delta map[string]any) {
	s.event("content_block_delta", map[string]any{"type": "content_block_delta", "index": s.open, "delta": delta})
}

func (s *stream) stop() {
	if s.open >= 0 {
		s.event("content_block_stop", map[string]any{"type": "content_block_stop", "index": s.open})
		s.open = -1
	}
}

func (s *stream) event(name string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		return // strings and numbers only: it cannot fail
	}
	s.buf = append(append(append(append(append(s.buf, "event: "...), name...), "\ndata: "...), body...), "\n\n"...)
}
