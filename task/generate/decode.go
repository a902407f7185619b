package generate

import (
	"unicode/utf8"

	"serval"
	"serval/llm/reply"
	"serval/llm/vocab"
)

// decoder turns the tokens of one answer into text. It is the Sink of one call to the model and belongs to that call's
// goroutine.
//
// Bytes go through three steps: raw holds what is not yet a whole character; held is text that may be the begin of a stop
// text; the parser sets reasoning and tool calls apart. A token's log-probability is told with the piece of text that it
// ends in.
type decoder struct {
	work  *work
	vocab *vocab.Vocabulary
	sink  serval.Sink
	index int

	raw    []byte // an unfinished character
	held   string
	parser *reply.Parser

	made    int // bytes of text so far, with what is held
	sent    int // bytes of them that were sent
	tokens  []serval.TokenText
	called  bool
	began   bool // the prompt was echoed
	over    bool
	usage   serval.Usage // not yet told
	delta   serval.Delta
	chunk   serval.Chunk
	stopped string
}

func (m *Model) newDecoder(w *work, index int, sink serval.Sink) *decoder {
	d := &decoder{work: w, vocab: m.vocab, sink: sink, index: index}
	if w.reply != nil {
		d.parser = w.reply()
	}
	return d
}

// Send takes what the model made in a step.
func (d *decoder) Send(c *serval.Chunk) error {
	out, ok := c.Output.(*serval.Tokens)
	if !ok {
		return serval.Errorf(serval.Internal, "the engine answered with %T, not with tokens", c.Output)
	}
	usage := c.Usage
	if d.index > 0 {
		usage.Prompt, usage.Cached = 0, 0 // the choices share the prompt
	}
	d.usage.Add(usage)
	if !d.began {
		d.began = true
		if d.work.echo {
			d.echo(out.Prompt)
		}
	}
	for i := range out.List {
		if d.token(&out.List[i], c.Finish != serval.More && i == len(out.List)-1) {
			d.usage.Completion -= int64(len(out.List) - 1 - i) // computed together with what came before the stop text
			return d.finish(serval.Stop, true)
		}
	}
	if c.Finish != serval.More {
		return d.finish(c.Finish, false)
	}
	return d.flush(serval.More)
}

// echo puts the prompt before the answer.
func (d *decoder) echo(prompt []serval.Token) {
	at := 0
	for i := range prompt {
		t := d.text(&prompt[i])
		t.None = i == 0
		t.Prompt = true
		t.Offset = at
		at += len(t.Bytes)
		d.delta.Logprobs = append(d.delta.Logprobs, t)
	}
	d.delta.Text += d.work.prompt
	d.made, d.sent = len(d.work.prompt), len(d.work.prompt)
}

// token takes one token; it reports true when a stop text is complete.
func (d *decoder) token(t *serval.Token, last bool) bool {
	end := last && (d.vocab.IsEnd(t.ID) || d.stopToken(t.ID)) // it ended the answer and is no part of it
	piece := d.vocab.Piece(t.ID)
	if end || d.vocab.IsSpecial(t.ID) && (d.parser == nil || !d.parser.Marker(string(piece))) {
		piece = nil
	}
	if d.work.gen.Logprobs >= 0 && !end {
		told := d.text(t)
		told.Offset = d.made + len(d.raw)
		d.tokens = append(d.tokens, told)
	}
	d.raw = append(d.raw, piece...)
	text, rest := whole(d.raw)
	d.raw = append(d.raw[:0], rest...)
	return d.take(text)
}

func (d *decoder) stopToken(id int32) bool {
	for _, s := range d.work.gen.Sampling.StopTokens {
		if s == id {
			return true
		}
	}
	return false
}

// text is a token with its alternatives as clients see them.
func (d *decoder) text(t *serval.Token) serval.TokenText {
	told := serval.TokenText{ID: t.ID, Bytes: d.vocab.Piece(t.ID), Logprob: t.Logprob}
	for i := range t.Top {
		told.Top = append(told.Top, serval.TokenText{ID: t.Top[i].ID, Bytes: d.vocab.Piece(t.Top[i].ID), Logprob: t.Top[i].Logprob})
	}
	return told
}

// whole splits bytes after the last whole character. What can never become a character is replaced, as Unicode recommends.
func whole(raw []byte) (text string, rest []byte) {
	at, valid := 0, true
	for at < len(raw) {
		if !utf8.FullRune(raw[at:]) {
			break
		}
		r, n := utf8.DecodeRune(raw[at:])
		valid = valid && (r != utf8.RuneError || n > 1)
		at += n
	}
	if valid {
		return string(raw[:at]), raw[at:]
	}
	var b []byte
	for rest := raw[:at]; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		b = utf8.AppendRune(b, r)
		rest = rest[n:]
	}
	return string(b), raw[at:]
}

// take adds text to the answer, but for an end that may be the begin of a stop text.
func (d *decoder) take(text string) bool {
	if text == "" {
		return false
	}
	d.made += len(text)
	d.held += text
	at, stop := findStop(d.held, d.work.stops)
	if stop != "" {
		d.stopped = stop
		if d.work.wish.KeepStop {
			at += len(stop)
		}
		kept := d.held[:at]
		d.made -= len(d.held) - at
		d.held = ""
		d.pass(kept)
		return true
	}
	kept := d.held[:at]
	d.held = d.held[at:]
	d.pass(kept)
	return false
}

// pass gives text to the parser, and what it makes of it to the delta.
func (d *decoder) pass(text string) {
	d.sent += len(text)
	if d.parser == nil {
		d.delta.Text += text
		return
	}
	if text != "" {
		d.parser.Feed(text, d.event)
	}
}

func (d *decoder) event(e reply.Event) {
	d.delta.Text += e.Text
	if e.Reasoning != "" {
		d.delta.Reasoning += e.Reasoning
	}
	if e.Call != nil {
		d.called = true
		calls := d.delta.Calls
		if n := len(calls); n > 0 && calls[n-1].Index == e.Call.Index && e.Call.ID == "" && e.Call.Name == "" {
			calls[n-1].Arguments += e.Call.Arguments
			return
		}
		d.delta.Calls = append(calls, *e.Call)
	}
}

// flush sends what there is, if there is something.
func (d *decoder) flush(finish serval.Finish) error {
	for len(d.tokens) > 0 {
		t := d.tokens[0]
		if finish == serval.More && t.Offset+len(t.Bytes) > d.sent {
			break
		}
		d.delta.Logprobs = append(d.delta.Logprobs, t)
		d.tokens = d.tokens[1:]
	}
	o := &d.delta
	if finish == serval.More && o.Text == "" && o.Reasoning == "" && len(o.Calls) == 0 && len(o.Logprobs) == 0 {
		return nil
	}
	if o.Reasoning != "" && o.Text == "" && len(o.Calls) == 0 {
		d.usage.Reasoning = d.usage.Completion
	}
	d.chunk = serval.Chunk{Output: o, Usage: d.usage, Finish: finish, Choice: d.index}
	d.usage = serval.Usage{}
	err := d.sink.Send(&d.chunk)
	d.delta = serval.Delta{}
	return err
}

// finish sends the last piece. With enough, the model is told to make no more.
func (d *decoder) finish(finish serval.Finish, enough bool) error {
	d.over = true
	if !enough {
		if d.take(string(appendReplaced(nil, d.raw))) {
			finish = serval.Stop
		} else {
			held := d.held
			d.held = ""
			d.pass(held)
		}
	} else {
		for len(d.tokens) > 0 && d.tokens[len(d.tokens)-1].Offset >= d.sent { // what the stop text cut off
			d.tokens = d.tokens[:len(d.tokens)-1]
		}
	}
	if d.parser != nil {
		d.parser.End(d.event)
	}
	d.delta.StopText = d.stopped
	if d.called && finish == serval.Stop {
		finish = serval.Called
	}
	if err := d.flush(finish); err != nil {
		return err
	}
	if enough {
		return serval.ErrEnough
	}
	return nil
}

// appendReplaced appends a replacement character for a character that was never finished.
func appendReplaced(dst, raw []byte) []byte {
	if len(raw) == 0 {
		return dst
	}
	return utf8.AppendRune(dst, utf8.RuneError)
}

// close is called when the model has ended the call without an error.
func (d *decoder) close() error {
	if d.over {
		return nil
	}
	return serval.Errorf(serval.Internal, "the engine ended the answer without saying why")
}
