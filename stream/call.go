package stream

import (
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"serval"
)

// caller has messages answered, group after group.
func (r *run) caller() {
	for group := range r.work {
		r.serve(group)
		r.finished <- group // it has room for every caller's
	}
}

// serve has a group answered, and notes how long that took.
func (r *run) serve(group []*item) {
	began := time.Now()
	loaded := r.handle(group)
	took, answered := time.Since(began), 0
	for _, it := range group {
		if it.failed == nil {
			answered++
		}
	}
	r.aside.spent(loaded, took, answered)
}

// handle decodes a group and calls the model: once for all rows where it puts rows of requests together anyway, else for one
// after the other. It returns when the model was loaded.
func (r *run) handle(group []*item) (loaded time.Time) {
	info, err := r.w.opt.Models.Model(r.w.opt.Model)
	if err != nil {
		for _, it := range group {
			r.judge(it, err)
		}
		return time.Time{}
	}
	most := int64(1)
	if info.Batching.On && info.Language == nil {
		most = int64(r.w.opt.Group)
		if limit := int64(info.Settings.Batching.Request); limit > 0 {
			most = min(most, limit)
		}
	}
	r.group.Store(most)
	decode := Gather(r.w.opt.Format, len(group))
	var together []*item
	rows := int64(0) // of those
	for _, it := range group {
		if it.failed != nil { // condemned
			r.condemnItem(it, it.failed)
			continue
		}
		if limit := r.w.opt.MaxMessage; it.size > int64(limit) {
			r.condemnItem(it, tooLarge(it.size, limit))
			continue
		}
		it.call = Call{}
		if err := r.guard(func() error { return decode(&it.msg, &info, &it.call) }); err != nil {
			r.judge(it, err)
			continue
		}
		n := int64(0)
		if most > 1 && !traced(it) {
			n = rowsOf(it)
		}
		if n == 0 || n > most {
			r.single(it)
			continue
		}
		if len(together) > 0 && (rows+n > most || !alike(it, together[0])) { // it begins the next call
			r.merged(together)
			together, rows = together[:0:0], 0
		}
		together, rows = append(together, it), rows+n
	}
	r.merged(together)
	for _, it := range group {
		it.call = Call{} // it may hold memory of the whole group; an item that is tried again is decoded again
	}
	return info.Loaded
}

// guard turns a panic of a format, which reads bytes from outside, into an error.
func (r *run) guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.w.opt.Log.Error("stream: panic in a format; this is a bug, please report it", "stream", r.w.opt.Name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = serval.Errorf(serval.Internal, "the message could not be read or its result not be written; the server's log has the cause")
		}
	}()
	return f()
}

// rowsOf is the number of rows of an item's tensors where all lead with the same one, else 0.
func rowsOf(it *item) int64 {
	in, ok := it.call.Input.(*serval.Tensors)
	if !ok || len(in.List) == 0 {
		return 0
	}
	rows := int64(0)
	for i := range in.List {
		t := &in.List[i]
		if len(t.Shape) == 0 || t.Shape[0] < 1 || i > 0 && t.Shape[0] != rows || t.Check() != nil {
			return 0
		}
		rows = t.Shape[0]
	}
	return rows
}

// traced says whether the message's own trace is recorded: then it is a call of its own, so that the trace is only its.
func traced(it *item) bool {
	t, ok := it.msg.Header(HeaderTrace)
	return ok && len(t) == 55 && (t[54]-'0')&1 == 1
}

// alike says whether two items' rows can share a call.
func alike(x, y *item) bool {
	a, b := x.call.Input.(*serval.Tensors), y.call.Input.(*serval.Tensors)
	return x.call.Priority == y.call.Priority && slices.Equal(a.Want, b.Want) && slices.EqualFunc(a.List, b.List, func(s, t serval.Tensor) bool {
		return s.Name == t.Name && s.DType == t.DType && slices.Equal(s.Shape[1:], t.Shape[1:])
	})
}

func (r *run) request(it *item, in serval.Input) *serval.Request {
	req := &serval.Request{Protocol: "stream", Model: r.w.opt.Model, Input: in, Priority: r.w.opt.Priority}
	if it.call.Priority != 0 && req.Priority != serval.Background { // a background stream's messages do not push in front of others' calls
		req.Priority = it.call.Priority
	}
	if r.w.opt.Busy != nil {
		switch in.(type) {
		case *serval.Chat, *serval.Completion:
			req.Timeout = serval.LongAnswer
		}
	}
	return req
}

// merged answers several items with one call.
func (r *run) merged(items []*item) {
	if len(items) < 2 {
		for _, it := range items {
			r.single(it)
		}
		return
	}
	first := items[0].call.Input.(*serval.Tensors)
	joined := &serval.Tensors{List: make([]serval.Tensor, len(first.List)), Want: first.Want}
	rows := int64(0)
	for j := range first.List {
		t, size := first.List[j], 0
		for _, it := range items {
			size += len(it.call.Input.(*serval.Tensors).List[j].Data)
		}
		t.Data, rows = make([]byte, 0, size), 0
		for _, it := range items {
			part := &it.call.Input.(*serval.Tensors).List[j]
			t.Data = append(t.Data, part.Data...)
			rows += part.Shape[0]
		}
		t.Shape = slices.Clone(t.Shape)
		t.Shape[0] = rows
		joined.List[j] = t
	}
	req := r.request(items[0], joined)
	answered := false
	err := r.w.opt.Handler.Handle(r.hard, req, serval.SinkFunc(func(c *serval.Chunk) error {
		out, ok := c.Output.(*serval.Tensors)
		if !ok || answered {
			return serval.Errorf(serval.Unimplemented, "the model does not answer rows of several messages together")
		}
		answered = true
		return r.part(req, items, out.List, rows)
	}))
	r.w.count.calls.Add(1)
	if err == nil && answered {
		r.answered(len(items))
		return
	}
	switch e := serval.AsError(err); {
	case err == nil, e.Code == serval.InvalidArgument, e.Code == serval.TooLarge, e.Code == serval.Unimplemented, e.Code == serval.Internal:
		for _, it := range items { // whose fault it is shows when each is called alone
			it.failed, it.after, it.dropped = nil, 0, false
			r.single(it)
		}
	default:
		for _, it := range items {
			r.judge(it, e)
		}
	}
}

// part gives each item its rows of the outputs, and encodes them.
func (r *run) part(req *serval.Request, items []*item, outputs []serval.Tensor, rows int64) error {
	answer := Answer{Model: req.Model, Request: req.ID, Outputs: make([]serval.Tensor, len(outputs)), Finish: serval.Stop}
	left := make([][]byte, len(outputs)) // of each output's data
	shapes := make([][]int64, len(outputs))
	for j := range outputs {
		if len(outputs[j].Shape) == 0 || outputs[j].Shape[0] != rows {
			return serval.Errorf(serval.Unimplemented, "output '%s' does not have a row for each row of the inputs", outputs[j].Name)
		}
		left[j], shapes[j] = outputs[j].Data, slices.Clone(outputs[j].Shape)
	}
	room := newSheet(items, req.Model)
	for _, it := range items {
		n := it.call.Input.(*serval.Tensors).List[0].Shape[0]
		for j := range outputs {
			t := outputs[j]
			size := len(t.Data) / int(rows) * int(n)
			if t.DType == serval.Bytes {
				each, _ := serval.Elements(t.Shape[1:])
				size = bytesSize(left[j], each*n)
			}
			shapes[j][0] = n
			t.Shape, t.Data = shapes[j], left[j][:size:size]
			left[j] = left[j][size:]
			answer.Outputs[j] = t
		}
		r.encode(it, &answer, room)
	}
	return nil
}

// bytesSize is the length of the first n elements of a Bytes tensor's data.
func bytesSize(data []byte, n int64) int {
	rest := data
	for range n {
		var ok bool
		if _, rest, ok = serval.NextBytes(rest); !ok {
			break
		}
	}
	return len(data) - len(rest)
}

// single answers one item with one call.
func (r *run) single(it *item) {
	req := r.request(it, it.call.Input)
	req.ID = it.call.ID
	trace, _ := it.msg.Header(HeaderTrace)
	req.Trace = string(trace)
	answer := Answer{Trace: req.Trace}
	encoded := false
	var text []byte
	err := r.w.opt.Handler.Handle(r.hard, req, serval.SinkFunc(func(c *serval.Chunk) error {
		answer.Usage.Add(c.Usage)
		if c.Finish != serval.More {
			answer.Finish = c.Finish
		}
		if encoded && c.Output != nil {
			return serval.Errorf(serval.Unimplemented, "model '%s' answers in several pieces, of which no message is made", req.Model.Name)
		}
		answer.Model, answer.Request = req.Model, req.ID
		switch out := c.Output.(type) {
		case nil:
		case *serval.Tensors:
			answer.Outputs, encoded = out.List, true
		case *serval.Embeddings:
			answer.Vectors, encoded = out.List, true
		case *serval.Scores:
			answer.Vectors, encoded = [][]float32{out.List}, true
		case *serval.Delta:
			text = append(text, out.Text...)
			answer.Calls = addCalls(answer.Calls, out.Calls)
		default:
			return serval.Errorf(serval.Unimplemented, "of what model '%s' answers no message is made", req.Model.Name)
		}
		if encoded {
			r.encode(it, &answer, newSheet([]*item{it}, answer.Model))
		}
		return nil
	}))
	r.w.count.calls.Add(1)
	if err != nil {
		it.failed, it.after = nil, 0
		r.judge(it, err)
		return
	}
	if !encoded {
		answer.Model, answer.Request, answer.Text = req.Model, req.ID, string(text)
		r.encode(it, &answer, newSheet([]*item{it}, answer.Model))
	}
	r.answered(1)
}

// addCalls adds pieces of tool calls to what there is of them.
func addCalls(calls []serval.ToolCall, pieces []serval.CallDelta) []serval.ToolCall {
	for _, p := range pieces {
		if p.Index < 0 || p.Index > 128 {
			continue
		}
		for len(calls) <= p.Index {
			calls = append(calls, serval.ToolCall{})
		}
		c := &calls[p.Index]
		c.ID, c.Name, c.Arguments = c.ID+p.ID, c.Name+p.Name, c.Arguments+p.Arguments
	}
	return calls
}

// answered notes that the model works.
func (r *run) answered(n int) {
	r.w.count.passed.Add(uint64(n))
	if r.ailing.Load() && r.ailing.Swap(false) {
		r.w.trouble("")
	}
}

// sheet is memory that the results of a call share, so that each takes none of its own. From encode on a result owns its
// piece, which ends where the piece does: who appends to it gets another. No piece is taken back, since a target may keep what
// it writes (a producer until it is acknowledged, a file until it is rolled); the collector has the sheet when the last
// result of the call is let go, and a call's results are written together.
type sheet struct {
	who     [2]Header // who answered
	headers []Header  // free
	text    []byte    // free: its capacity
	left    int       // results to come, with the next
}

// added is how many headers a result usually has beside its message's: who, and its content type.
const added = 3

// firstValue is the room for the first value, in bytes; its length tells what the next need.
const firstValue = 256

// sheetBytes bounds what is taken at once for values that are not written yet.
const sheetBytes = 64 << 10

func newSheet(items []*item, model serval.Ref) *sheet {
	s := &sheet{who: [2]Header{{HeaderModel, []byte(model.Name)}, {HeaderVersion, []byte(model.Version)}}, left: len(items)}
	n := 0
	for _, it := range items {
		n += len(it.msg.Headers) + added
	}
	s.headers, s.text = make([]Header, n), make([]byte, 0, firstValue)
	return s
}

// take gives a result room for its headers and its value.
func (s *sheet) take(out *Message, headers int) {
	n := min(headers+added, len(s.headers))
	out.Headers, s.headers = s.headers[:0:n], s.headers[n:]
	out.Value = s.text[:0]
}

// keep takes what a result used of its room off what is free, and has room for as long a value in each of the next. One that
// stands elsewhere, since it was too long or the format has its own, ends that: what is left of the room is nobody's.
func (s *sheet) keep(out *Message) {
	s.left--
	used := len(out.Value)
	if used == 0 || used > cap(s.text) || &out.Value[0] != &s.text[:1][0] {
		s.text, s.left = nil, 0
		return
	}
	out.Value, s.text = out.Value[:used:used], s.text[used:used]
	if most := used + used/8 + 16; s.left > 0 && cap(s.text) < most {
		s.text = make([]byte, 0, max(most, min(s.left*most, sheetBytes)))
	}
}

// encode makes the result of an item, or says why there is none.
func (r *run) encode(it *item, answer *Answer, room *sheet) {
	m := &it.msg
	it.out = Message{Key: m.Key, Position: m.Position, Time: m.Time, Lane: m.Lane}
	room.take(&it.out, len(m.Headers))
	answer.Trace = ""
	for _, h := range m.Headers {
		switch h.Key {
		case HeaderModel, HeaderVersion: // of a stream before this one
			continue
		case HeaderTrace:
			answer.Trace = string(h.Value)
		}
		it.out.Headers = append(it.out.Headers, h)
	}
	it.out.Headers = append(it.out.Headers, room.who[0], room.who[1])
	if err := r.guard(func() error { return r.w.opt.Format.Encode(m, &it.call, answer, &it.out) }); err != nil {
		it.out.Value, it.out.Headers = nil, nil
		r.judge(it, err)
		return
	}
	room.keep(&it.out)
}
