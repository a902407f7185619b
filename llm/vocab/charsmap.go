package vocab

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// charsMap is SentencePiece's compiled table of what characters become: a double array trie (XOR-compressed, see Kanda, "Space-
// and time-efficient string dictionaries", 2018) whose leaves are offsets into a list of strings that end in zero.
type charsMap struct {
	nodes []uint32
	texts []byte
}

func errCharsMap(why string) error {
	return fmt.Errorf("%s cannot be read: %s", key("precompiled_charsmap"), why)
}

func readCharsMap(blob []byte) (*charsMap, error) {
	if len(blob) == 0 {
		return nil, nil
	}
	if len(blob) < 4 {
		return nil, errCharsMap("it is too short")
	}
	size := int64(binary.LittleEndian.Uint32(blob))
	if size%4 != 0 || size == 0 || size+4 >= int64(len(blob)) {
		return nil, errCharsMap(fmt.Sprintf("its trie would take %d of its %d bytes", size, len(blob)))
	}
	m := &charsMap{nodes: make([]uint32, size/4), texts: blob[4+size:]}
	for i := range m.nodes {
		m.nodes[i] = binary.LittleEndian.Uint32(blob[4+4*i:])
	}
	if m.texts[len(m.texts)-1] != 0 {
		return nil, errCharsMap("its last string has no end")
	}
	return m, nil
}

// longest is what the longest beginning of s that is in the table becomes, and its length; 0 when there is none.
func (m *charsMap) longest(s string) (to string, used int) {
	base := func(n uint32) uint32 { return n >> 10 << (n & (1 << 9) >> 6) }
	at := base(m.nodes[0])
	offset := uint32(0)
	for i := range len(s) {
		c := s[i]
		if c == 0 {
			break
		}
		at ^= uint32(c)
		if at >= uint32(len(m.nodes)) {
			break
		}
		n := m.nodes[at]
		if n&(1<<31|0xFF) != uint32(c) {
			break
		}
		at ^= base(n)
		if n>>8&1 != 0 {
			if at >= uint32(len(m.nodes)) {
				break
			}
			used, offset = i+1, m.nodes[at]&(1<<31-1)
		}
	}
	if used == 0 || offset >= uint32(len(m.texts)) {
		return "", 0
	}
	t := m.texts[offset:]
	return string(t[:bytes.IndexByte(t, 0)]), used
}
