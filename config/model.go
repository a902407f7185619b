package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"serval"
)

// defaultMaxBatch and defaultLevels are the batch size and the number of priorities that 0 stands for.
const (
	defaultMaxBatch = 64
	defaultLevels   = 2
)

// leastMemory is the smallest limit of a model's process.
const leastMemory = 64 << 20

// model checks a model's settings; path is where they stand, "" for a model.yaml.
func (k *check) model(path string, m *serval.ModelSettings) {
	k.versions(join(path, "versions"), &m.Versions)
	k.atLeast(join(path, "instances"), m.Instances, 0)
	k.atLeast(join(path, "threads"), m.Threads, 0)
	const most = 1024 // each is a goroutine and, in most engines, memory
	if m.Instances > most {
		k.fail(join(path, "instances"), "is %d; at most %d", m.Instances, most)
	}
	if m.Threads > most {
		k.fail(join(path, "threads"), "is %d; at most %d", m.Threads, most)
	}
	k.batching(join(path, "batching"), &m.Batching)
	k.isolation(path, m)
	queue := join(path, "queue")
	k.atLeast(join(queue, "limit"), m.Queue.Limit, 0)
	k.atLeast(join(queue, "priority_levels"), m.Queue.PriorityLevels, 0)
	if m.Queue.PriorityLevels > 100 {
		k.fail(join(queue, "priority_levels"), "is %d; at most 100 are kept apart", m.Queue.PriorityLevels)
	}
	if m.Queue.MaxWait < 0 || m.Queue.Timeout < 0 {
		k.fail(queue, "has a negative duration; write 0 for the default")
	}
	k.priorities(queue, &m.Queue)
	k.declared(path, m)
	k.stateful(path, m)
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		at := join(join(path, "aliases"), alias)
		if alias == "" || strings.ContainsAny(alias, ":@/ ") {
			k.fail(at, "an alias is asked for as name@alias, so it must be a word without ':', '@', '/' and spaces")
		}
		if m.Aliases[alias] == "" {
			k.fail(at, "names no version; write the version that the alias stands for")
		}
	}
	for _, output := range slices.Sorted(maps.Keys(m.Labels)) {
		if file := m.Labels[output]; !filepath.IsLocal(file) {
			k.fail(join(join(path, "labels"), output), "must name a file inside the model's folder, not %s", quote(file))
		}
	}
}

// isolation checks where the model runs, and how much memory it may take there.
func (k *check) isolation(path string, m *serval.ModelSettings) {
	k.oneOf(join(path, "isolation"), m.Isolation, "", "process", "none")
	if m.Memory == "" {
		return
	}
	at := join(path, "memory")
	n, err := ParseSize(m.Memory)
	switch {
	case err != nil:
		k.fail(at, "%v", err)
	case m.Isolation == "none":
		k.fail(at, "limits the process of an isolated model, and isolation is none; remove one of them")
	case n < leastMemory:
		k.fail(at, "is %s; a process takes more than that before it has loaded anything, so write at least %s", n, Size(leastMemory))
	}
}

func (k *check) atLeast(path string, n, least int) {
	if n < least {
		k.fail(path, "must be an integer, at least %d, not %d", least, n)
	}
}

func (k *check) versions(path string, v *serval.VersionPolicy) {
	set := 0
	for _, is := range []bool{v.Latest != 0, v.All, len(v.Specific) > 0} {
		if is {
			set++
		}
	}
	if set > 1 {
		k.fail(path, "has more than one of latest, all and specific; keep the one that you mean")
	}
	k.atLeast(join(path, "latest"), v.Latest, 0)
	seen := map[int64]bool{}
	for i, version := range v.Specific {
		switch at := element(join(path, "specific"), i); {
		case version <= 0:
			k.fail(at, "must be the number of a version folder, at least 1, not %d", version)
		case seen[version]:
			k.fail(at, "names version %d a second time", version)
		}
		seen[version] = true
	}
}

func (k *check) batching(path string, b *serval.BatchSettings) {
	k.oneOf(join(path, "mode"), b.Mode, "", "auto", "on", "off")
	k.atLeast(join(path, "max"), b.Max, 0)
	k.atLeast(join(path, "request"), b.Request, 0)
	most := b.Max
	if most == 0 {
		most = defaultMaxBatch
	}
	for i, size := range b.Preferred {
		switch at := element(join(path, "preferred"), i); {
		case size < 1:
			k.fail(at, "must be a number of rows, at least 1, not %d", size)
		case b.Max >= 0 && size > most:
			k.fail(at, "%d is more than the largest batch, which is %d; raise batching.max or lower this", size, most)
		}
	}
	if b.MaxDelay < 0 {
		k.fail(join(path, "max_delay"), "must not be negative, is %s", b.MaxDelay)
	}
	if b.Mode == "off" && (b.MaxDelay > 0 || len(b.Preferred) > 0) {
		k.fail(path, "has mode off, and yet preferred or max_delay, which only batches use; remove them or the mode")
	}
}
