package config

import (
	"maps"
	"path/filepath"
	"slices"

	"serval"
	"serval/internal/spell"
)

// maxSequences bounds sequence.max_sequences: each has a state in memory.
const maxSequences = 1 << 20

// stateful checks the sections that fill inputs in: sequence, constants and dims. That the names are the model's is seen when
// it is loaded.
func (k *check) stateful(path string, m *serval.ModelSettings) {
	taken := map[string]string{} // input → the path that fills it in
	take := func(at, input string) {
		switch first := taken[input]; {
		case input == "":
			k.fail(at, "is missing; name one of the model's inputs")
		case first != "":
			k.fail(at, "%s is filled in by %s already", quote(input), first)
		default:
			taken[input] = at
		}
	}
	for _, input := range slices.Sorted(maps.Keys(m.Constants)) {
		take(join(join(path, "constants"), input), input)
	}
	for _, symbol := range slices.Sorted(maps.Keys(m.Dims)) {
		if n := m.Dims[symbol]; n < 1 {
			k.fail(join(join(path, "dims"), symbol), "must be a size, at least 1, not %d", n)
		}
	}
	if m.Sequence != nil {
		k.sequence(join(path, "sequence"), m.Sequence, take)
	}
}

func (k *check) sequence(path string, s *serval.SequenceSettings, take func(at, input string)) {
	k.oneOf(join(path, "strategy"), s.Strategy, "", "oldest", "direct")
	most := join(path, "max_sequences")
	if k.atLeast(most, s.MaxSequences, 0); s.MaxSequences > maxSequences {
		k.fail(most, "is %d; at most %d are kept", s.MaxSequences, maxSequences)
	}
	if s.IdleTimeout < 0 {
		k.fail(join(path, "idle_timeout"), "must not be negative, is %s", s.IdleTimeout)
	}
	for i, c := range s.Controls {
		at := element(join(path, "controls"), i)
		take(join(at, "input"), c.Input)
		k.oneOf(join(at, "kind"), c.Kind, "start", "end", "ready", "id")
		if c.Kind == "id" && (c.False != 0 || c.True != 0) {
			k.fail(at, "has kind id, which takes the sequence's own id; remove true and false")
		}
	}
	outputs := map[string]string{}
	for i, st := range s.States {
		at := element(join(path, "states"), i)
		take(join(at, "input"), st.Input)
		switch first := outputs[st.Output]; {
		case st.Output == "":
			k.fail(join(at, "output"), "is missing; name the model's output that becomes the input")
		case first != "":
			k.fail(join(at, "output"), "%s is the output of %s too; give each its own", quote(st.Output), first)
		default:
			outputs[st.Output] = at
		}
		k.state(at, &st)
	}
	for i, h := range s.History {
		at := element(join(path, "history"), i)
		take(join(at, "input"), h.Input)
		if h.Size < 1 {
			k.fail(join(at, "size"), "must be a number of elements, at least 1, not %d", h.Size)
		}
	}
}

func (k *check) state(at string, st *serval.SequenceState) {
	k.atLeast(join(at, "axis"), st.Axis, 0)
	for i, d := range st.Shape {
		if d < 0 {
			k.fail(element(join(at, "shape"), i), "must be a size, not %d; a first state has no dynamic dimension", d)
		}
	}
	if len(st.Shape) > 0 && st.Axis >= len(st.Shape) {
		k.fail(join(at, "axis"), "is %d, but shape has %d dimensions, counted from 0", st.Axis, len(st.Shape))
	}
	if st.File != "" && !filepath.IsLocal(st.File) {
		k.fail(join(at, "file"), "must name a file inside the model's folder, not %s", quote(st.File))
	}
}

// oneOf checks a word; "" among the words means that it may be missing.
func (k *check) oneOf(path, word string, words ...string) {
	if slices.Contains(words, word) {
		return
	}
	list := ""
	for _, w := range words {
		if w != "" {
			if list != "" {
				list += ", "
			}
			list += w
		}
	}
	if word == "" {
		k.fail(path, "is missing; use one of %s", list)
		return
	}
	hint := ""
	if near := spell.Nearest(word, words); near != "" {
		hint = "; did you mean " + quote(near) + "?"
	}
	k.fail(path, "must be one of %s, not the text %s%s", list, quote(word), hint)
}
