package convert

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"serval/llm/gguf"
)

// spModel is what a tokenizer.model of SentencePiece says (sentencepiece_model.proto).
type spModel struct {
	pieces  []spPiece
	kind    uint64   // 1: Unigram, 2: byte pairs
	ids     [4]int64 // of unk, bos, eos and pad; -1: none
	prefix  bool     // a space before a text
	squeeze bool     // neighbouring spaces are one
	charmap []byte
}

type spPiece struct {
	text  string
	score float32
	kind  int32 // as GGUF's types of tokens
}

// field is one of a protocol buffer message: a number, or bytes.
type field struct {
	id     int
	number uint64
	bytes  []byte
}

var errProto = errors.New("it is no protocol buffer message of SentencePiece: damaged, or a pointer of Git LFS")

// fields calls f for each field of a message.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return errProto
		}
		b = b[n:]
		x := field{id: int(tag >> 3)}
		size := 0
		switch tag & 7 {
		case 0:
			if x.number, size = binary.Uvarint(b); size <= 0 {
				return errProto
			}
		case 1:
			if size = 8; len(b) < size {
				return errProto
			}
			x.number = binary.LittleEndian.Uint64(b)
		case 2:
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return errProto
			}
			x.bytes, size = b[n:n+int(length)], n+int(length)
		case 5:
			if size = 4; len(b) < size {
				return errProto
			}
			x.number = uint64(binary.LittleEndian.Uint32(b))
		default:
			return errProto
		}
		b = b[size:]
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// readSP reads a tokenizer.model.
func readSP(b []byte) (*spModel, error) {
	const maxPieces = 1 << 22
	m := &spModel{kind: 1, ids: [4]int64{0, 1, 2, -1}, prefix: true, squeeze: true}
	err := fields(b, func(x field) error {
		switch x.id {
		case 1:
			if len(m.pieces) == maxPieces {
				return fmt.Errorf("more than %d pieces", maxPieces)
			}
			p := spPiece{kind: normal}
			m.pieces = append(m.pieces, p)
			return fields(x.bytes, m.pieces[len(m.pieces)-1].set)
		case 2: // trainer_spec
			return fields(x.bytes, func(x field) error {
				switch {
				case x.id == 3:
					m.kind = x.number
				case x.id >= 40 && x.id <= 43:
					m.ids[x.id-40] = int64(int32(x.number))
				}
				return nil
			})
		case 3: // normalizer_spec
			return fields(x.bytes, func(x field) error {
				switch x.id {
				case 2:
					m.charmap = x.bytes
				case 3:
					m.prefix = x.number != 0
				case 4:
					m.squeeze = x.number != 0
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && len(m.pieces) == 0 {
		err = errProto
	}
	return m, err
}

func (p *spPiece) set(x field) error {
	switch x.id {
	case 1:
		p.text = string(x.bytes)
	case 2:
		p.score = math.Float32frombits(uint32(x.number))
		if p.score-p.score != 0 {
			return fmt.Errorf("piece %q has the score %g", p.text, p.score)
		}
	case 3:
		if x.number < 1 || x.number > 6 {
			return errProto
		}
		p.kind = int32(x.number)
	}
	return nil
}

// sentencePieces makes the vocabulary of tokenizer.model, where there is no tokenizer.json.
func (w *words) sentencePieces(dir string, x *texts, n *net) error {
	const name = "tokenizer.model"
	b, err := readFile(dir, name, maxTokenizer)
	if err != nil {
		return err
	}
	if b == nil {
		return wrong(name, name, "the folder has neither tokenizer.json nor tokenizer.model, of which one is needed")
	}
	m, err := readSP(b)
	if err != nil {
		return wrong(name, name, "%w", err)
	}
	if n.bert || m.kind != 1 && m.kind != 2 {
		return wrong(name, name, "its kind is %d; byte pairs and Unigram are converted, for decoders", m.kind)
	}
	w.model, w.pre, w.scores = "llama", "default", make([]float32, len(w.tokens))
	if m.kind == 1 {
		w.model = "t5"
	}
	lost := 0
	for i, p := range m.pieces {
		if !w.put(int32(i), p.text, p.kind) {
			lost++
			continue
		}
		w.scores[i] = p.score
	}
	if lost > 0 {
		w.note("%d pieces are left out: their ids are beyond the net's %d rows (vocab_size)", lost, len(w.tokens))
	}
	for i, role := range []string{"unk", "bos", "eos", "pad"} { // config.json's are better, and come first
		if id := m.ids[i]; id >= 0 && id < int64(len(m.pieces)) && x.config[role+"_token"] == nil {
			if x.config == nil {
				x.config = map[string]json.RawMessage{}
			}
			x.config[role+"_token"], _ = json.Marshal(m.pieces[id].text) // a string always can be
		}
	}
	if err := w.moreTokens(dir, x); err != nil {
		return err
	}
	w.set("add_space_prefix", gguf.Num(m.prefix))
	if m.kind == 1 {
		if len(m.charmap) > 0 {
			w.set("precompiled_charsmap", gguf.Nums(m.charmap))
		}
		w.set("remove_extra_whitespaces", gguf.Num(m.squeeze))
	} else if len(m.charmap) > 0 || m.squeeze {
		return wrong(name, name, "it normalizes texts, which has no place in GGUF with byte pairs")
	}
	return nil
}

// moreTokens puts the tokens that were added to a tokenizer.model.
func (w *words) moreTokens(dir string, x *texts) error {
	var more map[string]int32
	if _, err := readJSON(dir, "added_tokens.json", maxTokenizer, &more); err != nil {
		return err
	}
	for text, id := range more {
		if w.put(id, text, userDefined) {
			w.scores[id] = -1000
		}
	}
	w.add(x.decoder, true)
	return nil
}
