package vocab

import "slices"

// trie finds which of a set of strings a text begins with. Its nodes stand in one slice; the children of a node are neighbours
// and sorted by their byte.
type trie struct {
	nodes []trieNode
	root  [256]int32 // the root's children by their byte; 0: none
}

type trieNode struct {
	children int32 // the first
	count    int16
	byte     byte
	value    int32 // of the string that ends here; noToken: none does
}

// newTrie makes a trie of strings and their values. Of equal strings the first value counts; empty ones are left out.
func newTrie(texts []string, values []int32) *trie {
	order := make([]int32, 0, len(texts))
	for i, s := range texts {
		if s != "" {
			order = append(order, int32(i))
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		switch x, y := texts[a], texts[b]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	t := &trie{nodes: []trieNode{{value: noToken}}}
	type job struct{ node, from, to, depth int32 }
	jobs := []job{{0, 0, int32(len(order)), 0}}
	for len(jobs) > 0 {
		j := jobs[0]
		jobs = jobs[1:]
		for ; j.from < j.to && len(texts[order[j.from]]) == int(j.depth); j.from++ {
			if t.nodes[j.node].value == noToken {
				t.nodes[j.node].value = values[order[j.from]]
			}
		}
		t.nodes[j.node].children = int32(len(t.nodes))
		for from := j.from; from < j.to; {
			b := texts[order[from]][j.depth]
			to := from + 1
			for to < j.to && texts[order[to]][j.depth] == b {
				to++
			}
			child := int32(len(t.nodes))
			t.nodes = append(t.nodes, trieNode{byte: b, value: noToken})
			t.nodes[j.node].count++
			if j.node == 0 {
				t.root[b] = child
			}
			jobs = append(jobs, job{child, from, to, j.depth + 1})
			from = to
		}
	}
	return t
}

// step is the child of a node for a byte; 0 when there is none. The root is node 0.
func (t *trie) step(node int32, b byte) int32 {
	if node == 0 {
		return t.root[b]
	}
	n := &t.nodes[node]
	lo, hi := n.children, n.children+int32(n.count)
	for hi-lo > 8 {
		if mid := (lo + hi) / 2; t.nodes[mid].byte <= b {
			lo = mid
		} else {
			hi = mid
		}
	}
	for ; lo < hi; lo++ {
		if t.nodes[lo].byte == b {
			return lo
		}
	}
	return 0
}
