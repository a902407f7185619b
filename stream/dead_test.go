package stream

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"serval"
)

// FuzzLetter: what became a dead letter, once or twice, is found in it again, whatever its headers are; and a message that was
// never one, or was changed by hand, does no harm.
func FuzzLetter(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), []byte("a\x00b\x00serval-stream\x00x\x00serval-model\x00y"), int64(7), "")
	f.Add([]byte{}, []byte{}, []byte("serval-value-cut-bytes\x009"), int64(0), "id-1")
	f.Add([]byte("k"), []byte("v"), []byte("serval-offset\x00-1\x00serval-partition\x0099999999999"), int64(-5), "")
	f.Fuzz(func(t *testing.T, key, value, headers []byte, offset int64, id string) {
		m := Message{Key: key, Value: value, Position: Position{Topic: "topic", Partition: int32(offset & 0xff), Offset: offset, ID: id}}
		if id != "" {
			m.Position.Partition, m.Position.Offset = 0, 0
		}
		if stamp := binary.LittleEndian.Uint32(append(slices.Clone(key), 0, 0, 0, 0)); stamp > 0 {
			m.Time = time.Unix(int64(stamp), 0).UTC()
		}
		parts := bytes.Split(headers, []byte{0})
		for i := 0; i+1 < len(parts); i += 2 {
			m.Headers = append(m.Headers, Header{string(parts[i]), parts[i+1]})
		}
		_, _ = Original(&m)
		_, _ = LetterStream(&m), LetterCode(&m)
		r := &run{w: New(Options{Name: "s", Model: serval.Ref{Name: "m"}})}
		it := &item{msg: m, failed: serval.Errorf(serval.TooLarge, "no").At("field"), attempts: 3}
		letter := r.letter(it)
		if LetterStream(letter) != "s" || LetterCode(letter) != "too_large" {
			t.Errorf("it is of %q, %q", LetterStream(letter), LetterCode(letter))
		}
		same := func(got *Message, whole bool) {
			t.Helper()
			p := got.Position
			if id != "" {
				p.Partition = 0
			}
			if !whole || !bytes.Equal(got.Key, m.Key) || !bytes.Equal(got.Value, m.Value) || p != m.Position || !got.Time.Equal(m.Time) {
				t.Errorf("%v became %v", m, *got)
			}
			if !slices.EqualFunc(got.Headers, m.Headers, func(a, b Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }) {
				t.Errorf("headers %q became %q", m.Headers, got.Headers)
			}
		}
		same(Original(letter))
		// A dead letter that itself was read by a stream and became a dead letter.
		again, whole := Original(r.letter(&item{msg: *letter, failed: it.failed}))
		if !whole || len(again.Headers) != len(letter.Headers) {
			t.Errorf("of the second letter, %q is left", again.Headers)
		}
		same(Original(again))
		cut := r.letter(it)
		cut.Headers = append(cut.Headers, Header{HeaderCut, []byte("9")})
		if _, whole := Original(cut); whole {
			t.Error("a letter without its value is taken as whole")
		}
	})
}

// TestLetterUnordered: a broker that sorts headers by name loses none of the message's own.
func TestLetterUnordered(t *testing.T) {
	r := &run{w: New(Options{Name: "s", Model: serval.Ref{Name: "m"}})}
	m := Message{Headers: []Header{{"zebra", []byte("z")}, {"apple", []byte("a")}}, Position: Position{Topic: "t", Offset: 3}}
	letter := r.letter(&item{msg: m, failed: serval.Errorf(serval.InvalidArgument, "no")})
	slices.SortFunc(letter.Headers, func(a, b Header) int { return bytes.Compare([]byte(a.Key), []byte(b.Key)) })
	got, whole := Original(letter)
	if !whole || len(got.Headers) != 2 || got.Position != m.Position || LetterCode(letter) != "invalid_argument" {
		t.Errorf("%+v %v", got, whole)
	}
}
