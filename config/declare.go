package config

import (
	"maps"
	"path/filepath"
	"slices"

	"serval"
)

// maxWarmup bounds how often a warm-up request is run and how many rows it has.
const maxWarmup = 1 << 20

// declared checks what model.yaml says of the model's tensors. That the model fits is seen when it is loaded.
func (k *check) declared(path string, m *serval.ModelSettings) {
	if m.File != "" && !filepath.IsLocal(m.File) {
		k.fail(join(path, "file"), "must name a file inside the version folder, not %s", quote(m.File))
	}
	k.tensors(join(path, "inputs"), m.Inputs)
	k.tensors(join(path, "outputs"), m.Outputs)
	for i := range m.Outputs {
		if m.Outputs[i].Optional {
			k.fail(join(element(join(path, "outputs"), i), "optional"), "only inputs can be optional; remove it")
		}
	}
	for i := range m.Warmup {
		k.warmup(element(join(path, "warmup"), i), &m.Warmup[i])
	}
}

func (k *check) tensors(path string, list []serval.TensorSettings) {
	first := map[string]string{}
	for i := range list {
		t, at := &list[i], element(path, i)
		switch other := first[t.Name]; {
		case t.Name == "":
			k.fail(join(at, "name"), "is missing; write the name that clients use")
		case other != "":
			k.fail(join(at, "name"), "%s is declared by %s already", quote(t.Name), other)
		default:
			first[t.Name] = at
		}
		if t.Reshape != nil && t.Shape == nil {
			k.fail(join(at, "reshape"), "needs the shape that clients use beside it")
		}
		if open(t.Shape) != open(t.Reshape) && t.Reshape != nil {
			k.fail(join(at, "reshape"), "has %d times -1, shape has %d; the nth of one is the nth of the other", open(t.Reshape), open(t.Shape))
		}
	}
}

// open counts the dimensions that a request chooses.
func open(shape []int64) int {
	n := 0
	for _, d := range shape {
		if d < 0 {
			n++
		}
	}
	return n
}

func (k *check) warmup(at string, w *serval.WarmupSettings) {
	if w.Rows < 0 || w.Rows > maxWarmup {
		k.fail(join(at, "rows"), "must be 0 to %d, not %d", maxWarmup, w.Rows)
	}
	if w.Count < 0 || w.Count > maxWarmup {
		k.fail(join(at, "count"), "must be 0 to %d, not %d", maxWarmup, w.Count)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Inputs)) {
		in, path := w.Inputs[name], join(join(at, "inputs"), name)
		k.oneOf(join(path, "data"), in.Data, "", "zero", "random", "file")
		switch {
		case in.Data == "file" && !filepath.IsLocal(in.File):
			k.fail(join(path, "file"), "must name a file inside the model's folder, not %s", quote(in.File))
		case in.Data != "file" && in.File != "":
			k.fail(join(path, "file"), "is read only with data: file")
		}
		if slices.Min(append([]int64{0}, in.Shape...)) < 0 {
			k.fail(join(path, "shape"), "has a negative size; a made-up request needs every size")
		}
	}
}

// priorities checks how single priorities wait.
func (k *check) priorities(path string, q *serval.QueueSettings) {
	levels := q.PriorityLevels
	if levels == 0 {
		levels = defaultLevels
	}
	if q.DefaultPriority < 0 || q.DefaultPriority > levels {
		k.fail(join(path, "default_priority"), "must be 1 to priority_levels, which is %d, not %d", levels, q.DefaultPriority)
	}
	k.oneOf(join(path, "on_timeout"), q.OnTimeout, "", "reject", "delay")
	k.oneOf(join(path, "client_timeout"), q.ClientTimeout, "", "honour", "ignore")
	seen := map[int]bool{}
	for i := range q.Priorities {
		p, at := &q.Priorities[i], element(join(path, "priorities"), i)
		switch {
		case p.Priority < 1 || p.Priority > levels:
			k.fail(join(at, "priority"), "must be 1 to priority_levels, which is %d, not %d", levels, p.Priority)
		case seen[p.Priority]:
			k.fail(join(at, "priority"), "%d is given a second time", p.Priority)
		}
		seen[p.Priority] = true
		k.atLeast(join(at, "limit"), p.Limit, 0)
		if p.Timeout < 0 {
			k.fail(join(at, "timeout"), "must not be negative, is %s", p.Timeout)
		}
		k.oneOf(join(at, "on_timeout"), p.OnTimeout, "", "reject", "delay")
		k.oneOf(join(at, "client_timeout"), p.ClientTimeout, "", "honour", "ignore")
	}
}
