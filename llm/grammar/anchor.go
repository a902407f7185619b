package grammar

import (
	"strconv"
	"unicode/utf8"
)

func itoa(n int) string { return strconv.Itoa(n) }

// whole is the language of texts that match from end to end.
func (r *regex) whole() (*expr, error) { return r.anchored(r.root, margin{first: true, last: true}) }

// search is the language of texts in which a match is found somewhere, as JSON Schema's pattern has it.
func (r *regex) search() (*expr, error) {
	return r.anchored(r.root, margin{first: true, last: true, before: true, after: true})
}

// margin says where a node stands: first, if nothing stands before it, so that ^ may stand there, and last. before says that
// anything may come before the node if it has no ^ there; after is the same for its end.
type margin struct{ first, last, before, after bool }

// anchored turns a node into an expr. Anchors may stand at the ends of the whole, of groups there, and of their alternatives.
func (r *regex) anchored(n *rnode, e margin) (*expr, error) {
	switch {
	case n.op == opAlt:
		var kids []*expr
		for _, k := range n.kids {
			x, err := r.anchored(k, e)
			if err != nil {
				return nil, err
			}
			kids = append(kids, x)
		}
		return alt(kids...), nil
	case n.op == opSeq && len(n.kids) > 0:
		return r.sequence(n.kids, e)
	case n.op == opEmpty && n.anchor == '^' && e.first:
		return e.pad(empty, false, true), nil
	case n.op == opEmpty && n.anchor == '$' && e.last:
		return e.pad(empty, true, false), nil
	}
	x, err := r.inner(n)
	if err != nil {
		return nil, err
	}
	return e.pad(x, true, true), nil
}

// sequence gives the margin to the first and the last part, and takes off the anchors.
func (r *regex) sequence(kids []*rnode, e margin) (*expr, error) {
	before, after := e.first && e.before, e.last && e.after
	for len(kids) > 0 && e.first && kids[0].op == opEmpty && kids[0].anchor == '^' {
		kids, before = kids[1:], false
	}
	for len(kids) > 0 && e.last && kids[len(kids)-1].op == opEmpty && kids[len(kids)-1].anchor == '$' {
		kids, after = kids[:len(kids)-1], false
	}
	if len(kids) == 0 {
		return margin{first: true, last: true, before: before, after: after}.pad(empty, true, true), nil
	}
	parts := make([]*expr, len(kids))
	for i, k := range kids {
		var x *expr
		var err error
		at := margin{first: e.first && i == 0, last: e.last && i == len(kids)-1}
		at.before, at.after = at.first && before, at.last && after
		if at.first || at.last {
			x, err = r.anchored(k, at)
		} else {
			x, err = r.inner(k)
		}
		if err != nil {
			return nil, err
		}
		parts[i] = x
	}
	return seq(parts...), nil
}

// pad puts any text at the open ends.
func (e margin) pad(x *expr, before, after bool) *expr {
	all := star(class(anyRune()))
	if before && e.before {
		x = seq(all, x)
	}
	if after && e.after {
		x = seq(x, all)
	}
	return x
}

// inner is a node with something around it: no anchors.
func (r *regex) inner(n *rnode) (*expr, error) {
	switch n.op {
	case opEmpty:
		at := utf8.RuneCountInString(r.source[:n.at]) + 1
		return nil, faultf("character "+itoa(at), "the anchor %c is supported only at the beginning (^) or the end ($) of the expression, of its groups there, and of their alternatives", n.anchor)
	case opClass:
		return n.leaf, nil
	case opRepeat:
		x, err := r.inner(n.kids[0])
		if err != nil {
			return nil, err
		}
		return repeat(x, n.least, n.most), nil
	}
	var kids []*expr
	for _, k := range n.kids {
		x, err := r.inner(k)
		if err != nil {
			return nil, err
		}
		kids = append(kids, x)
	}
	if n.op == opAlt {
		return alt(kids...), nil
	}
	return seq(kids...), nil
}
