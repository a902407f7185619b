package openai

import (
	"encoding/json"
	"strconv"

	"serval"
	"serval/protocol"
)

// responder makes a response of an answer's pieces, and tells of each as an event where somebody listens. It belongs to the
// goroutine of the request.
type responder struct {
	response *response
	events   *protocol.Events // nil: nobody listens
	number   int              // of the next event
	buf      []byte
	open     *outputItem
	finish   serval.Finish
	told     bool // log-probabilities were asked for
	err      error
}

// Send takes a piece.
func (s *responder) Send(c *serval.Chunk) error {
	d, err := delta(c)
	if err != nil {
		return err
	}
	if s.number == 0 {
		s.begin()
	}
	if d.Reasoning != "" {
		item := s.item("reasoning", 0)
		item.text = append(item.text, d.Reasoning...)
		s.tell("response.reasoning_text.delta", item, map[string]any{"content_index": 0, "delta": d.Reasoning})
	}
	if d.Text != "" || len(d.Logprobs) > 0 {
		item := s.item("message", 0)
		item.text = append(item.text, d.Text...)
		probs := []tokenLogprob{}
		if s.told {
			for i := range d.Logprobs {
				probs = append(probs, tokenLogprobOf(&d.Logprobs[i], true))
			}
			item.Content[0].Logprobs = append(item.Content[0].Logprobs, probs...)
		}
		s.tell("response.output_text.delta", item, map[string]any{"content_index": 0, "delta": d.Text, "logprobs": probs})
	}
	for _, call := range d.Calls {
		item := s.call(&call)
		item.text = append(item.text, call.Arguments...)
		if call.Arguments != "" {
			s.tell("response.function_call_arguments.delta", item, map[string]any{"delta": call.Arguments})
		}
	}
	if c.Finish != serval.More {
		s.finish = c.Finish
		s.close(c.Finish)
	}
	return s.write()
}

// begin tells that there is an answer.
func (s *responder) begin() {
	s.event("response.created", map[string]any{"response": s.response})
	s.event("response.in_progress", map[string]any{"response": s.response})
}

// done tells how the answer ended.
func (s *responder) done(u serval.Usage, err error) {
	if s.number == 0 {
		s.begin()
	}
	s.response.end(s.finish, u, err)
	s.event("response."+s.response.Status, map[string]any{"response": s.response})
	_ = s.write() // who left does not hear it
}

// item is the open one if it is of that kind, else a new one.
func (s *responder) item(kind string, index int) *outputItem {
	if s.open != nil && s.open.Type == kind && s.open.index == index {
		return s.open
	}
	s.close(serval.More)
	none := []struct{}{}
	item := &outputItem{Type: kind, Status: "in_progress", index: index}
	switch kind {
	case "message":
		item.ID, item.Role = protocol.NewID("msg_"), "assistant"
	case "reasoning":
		item.ID, item.Summary = protocol.NewID("rs_"), &none
	default:
		item.ID = protocol.NewID("fc_")
	}
	s.open = item
	s.response.Output = append(s.response.Output, item)
	if kind == "function_call" {
		return item // it is told of once its name is known
	}
	item.Content = []*outputText{}
	s.tell("response.output_item.added", item, map[string]any{"item": item})
	item.Content = []*outputText{{Type: "reasoning_text"}}
	if kind == "message" {
		item.Content[0].Type, item.Content[0].Annotations, item.Content[0].Logprobs = "output_text", &none, []tokenLogprob{}
		s.tell("response.content_part.added", item, map[string]any{"content_index": 0, "part": item.Content[0]})
	}
	return item
}

func (s *responder) call(call *serval.CallDelta) *outputItem {
	before := s.open
	item := s.item("function_call", call.Index)
	item.CallID += call.ID
	item.Name += call.Name
	if item != before {
		none := ""
		item.Arguments = &none
		s.tell("response.output_item.added", item, map[string]any{"item": item})
	}
	return item
}

// close completes the open item.
func (s *responder) close(finish serval.Finish) {
	item := s.open
	if item == nil {
		return
	}
	s.open = nil
	item.Status = "completed"
	if finish == serval.Length {
		item.Status = "incomplete"
	}
	text := string(item.text)
	switch item.Type {
	case "message":
		item.Content[0].Text = text
		s.tell("response.output_text.done", item, map[string]any{"content_index": 0, "text": text, "logprobs": item.Content[0].Logprobs})
		s.tell("response.content_part.done", item, map[string]any{"content_index": 0, "part": item.Content[0]})
	case "reasoning":
		item.Content[0].Text = text
		s.tell("response.reasoning_text.done", item, map[string]any{"content_index": 0, "text": text})
	default:
		item.Arguments = &text
		s.tell("response.function_call_arguments.done", item, map[string]any{"arguments": text, "name": item.Name})
	}
	s.tell("response.output_item.done", item, map[string]any{"item": item})
}

// tell is an event about an item.
func (s *responder) tell(kind string, item *outputItem, fields map[string]any) {
	fields["output_index"] = len(s.response.Output) - 1
	if _, whole := fields["item"]; !whole {
		fields["item_id"] = item.ID
	}
	s.event(kind, fields)
}

func (s *responder) event(kind string, fields map[string]any) {
	fields["type"], fields["sequence_number"] = kind, s.number
	s.number++
	if s.events == nil {
		return
	}
	body, err := json.Marshal(fields)
	if err != nil {
		s.err = err
		return
	}
	s.buf = append(append(append(append(append(s.buf, "event: "...), kind...), "\ndata: "...), body...), "\n\n"...)
}

func (s *responder) write() error {
	if s.err != nil || s.events == nil || len(s.buf) == 0 {
		return s.err
	}
	err := s.events.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// failed is the event of an error before there was a response to fail.
func (s *responder) failed(e *serval.Error) {
	_ = s.events.Write([]byte("event: error\ndata: " + `{"type":"error","sequence_number":` + strconv.Itoa(s.number) + "," + string(errorBody(e)[1:]) + "\n\n"))
}
