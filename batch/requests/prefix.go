package requests

import (
	"encoding/json"
)

// prints is how many fingerprints a request has: of its model, and of its first 64, 128, … bytes as that will read them. Two
// requests share as many of them as they share beginning, in bounded memory however long that is.
const prints = 17

// ends are where they are taken.
var ends = [prints]int{0, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384}

// printer makes fingerprints by FNV-1a.
type printer struct {
	sum  uint64
	read int
	next int
	out  [prints]uint32
}

func (p *printer) write(text []byte) {
	for _, c := range text {
		if p.next == prints {
			return
		}
		p.sum = (p.sum ^ uint64(c)) * 1099511628211
		if p.read++; p.read == ends[p.next] {
			p.note()
		}
	}
}

func (p *printer) note() {
	p.out[p.next] = uint32(p.sum ^ p.sum>>32)
	p.next++
}

// printsOf are those of a request: of its model, tools and conversation, in the order in which templates put them. What has no
// such parts has the same fingerprints as all others, and keeps the file's order.
func printsOf(model string, a *asked) [prints]uint32 {
	p := printer{sum: 14695981039346656037}
	if a.Model != nil {
		model = *a.Model
	}
	part := func(text []byte) {
		p.write(text)
		p.write([]byte{0})
	}
	for _, c := range []byte(model) { // a model's name takes no room in what they are of
		p.sum = (p.sum ^ uint64(c)) * 1099511628211
	}
	p.note()
	part(a.Tools)
	part(a.Instructions)
	part(a.Prompt)
	var list []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	messages := a.Messages
	if len(messages) == 0 {
		messages = a.Input
	}
	if json.Unmarshal(messages, &list) == nil {
		for i := range list {
			part([]byte(list[i].Role))
			part(list[i].Content)
		}
	} else {
		part(messages)
	}
	for p.next < prints { // the rest: of all of it
		p.note()
	}
	return p.out
}
