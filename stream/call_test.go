package stream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/stream"
	"serval/stream/format"
)

const features = 16

// sums is a model that answers each row with the sum of its features.
type sums struct{}

func (sums) Model(serval.Ref) (serval.ModelInfo, error) {
	return serval.ModelInfo{
		Name: "sums", Version: "1", Loaded: time.Unix(1, 0), Batching: serval.Batching{On: true},
		Signature: serval.Signature{
			Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, features}}},
			Outputs: []serval.TensorInfo{{Name: "sum", DType: serval.FP32, Shape: []int64{-1, 1}}},
		},
	}, nil
}

func (sums) Handle(_ context.Context, req *serval.Request, sink serval.Sink) error {
	x := &req.Input.(*serval.Tensors).List[0]
	n := int(x.Shape[0])
	y := serval.Tensor{Name: "sum", DType: serval.FP32, Shape: []int64{int64(n), 1}, Data: make([]byte, 4*n)}
	for i := range n {
		sum := float32(0)
		for j := range features {
			sum += math.Float32frombits(binary.LittleEndian.Uint32(x.Data[4*(i*features+j):]))
		}
		binary.LittleEndian.PutUint32(y.Data[4*i:], math.Float32bits(sum))
	}
	req.Model.Version = "1"
	return sink.Send(&serval.Chunk{Output: &serval.Tensors{List: []serval.Tensor{y}}, Finish: serval.Stop})
}

// rowsOf are messages of rows; message i's features add up to i.
func rowsOf(n int) (list []stream.Message) {
	for i := range n {
		v := fmt.Appendf(nil, `{"id":%d`, i)
		for c := range features {
			x := float64(c) - (features-1)/2.0
			if c == 0 {
				x += float64(i)
			}
			v = fmt.Appendf(v, `,"f%d":%v`, c, x)
		}
		if pad := 280 - len(v) - 12; pad > 0 {
			v = fmt.Appendf(v, `,"note":"%s"`, strings.Repeat("n", pad))
		}
		list = append(list, stream.Message{Key: fmt.Appendf(nil, "%d", i), Value: append(v, '}')})
	}
	return list
}

func caller(t testing.TB, events *format.CloudEvents) *stream.Caller {
	o := &format.Rows{Pass: []string{"id"}}
	for c := range features {
		o.Columns = append(o.Columns, fmt.Sprintf("f%d", c))
	}
	f, err := format.New(o, events)
	if err != nil {
		t.Fatal(err)
	}
	return stream.NewCaller(stream.Options{Name: "s", Model: serval.Ref{Name: "sums"}, OnError: "drop", Handler: sums{}, Models: sums{}, Format: f})
}

// BenchmarkCall is what stands around the model for each message of a group: decoding, laying rows together, and results.
func BenchmarkCall(b *testing.B) {
	c := caller(b, nil)
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprintf("group=%d", n), func(b *testing.B) {
			messages := rowsOf(n)
			list := make([]*stream.Message, 0, n)
			b.ReportAllocs()
			for done := 0; done < b.N; done += n {
				if list = c.Answer(messages, list[:0]); list[n-1] == nil {
					b.Fatal("no answer")
				}
			}
		})
	}
}

// TestGroup: messages that share memory get what each would get alone, whatever stands among them, and what is done to one
// result does not touch another.
func TestGroup(t *testing.T) {
	for name, events := range map[string]*format.CloudEvents{"rows": nil, "events": {On: true}} {
		t.Run(name, func(t *testing.T) {
			var mixed []stream.Message
			for i, m := range rowsOf(300) {
				switch {
				case i%50 == 7:
					m.Value = m.Value[:len(m.Value)/2]
				case i%50 == 8: // members in another order, and one that is passed on twice
					m.Value = fmt.Appendf(nil, `{"note":null,%s,"id":"two"}`, bytes.TrimSuffix(bytes.TrimPrefix(m.Value, []byte("{")), []byte("}")))
				case i%50 == 9:
					m.Headers = []stream.Header{{Key: "traceparent", Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}}
				case i%50 == 10: // longer than what the others need
					m.Value = bytes.Replace(m.Value, []byte(`"id":`), fmt.Appendf(nil, `"id":"%s","was":`, strings.Repeat("i", 5000)), 1)
				case i%50 == 11:
					m.Headers = []stream.Header{{Key: "a", Value: []byte("1")}, {Key: "serval-model", Value: []byte("before")}, {Key: "b"}, {Key: "content-type", Value: []byte("text/x")}}
				case i%50 == 12:
					m.Value = bytes.Replace(m.Value, []byte(`"f3":`), []byte(`"f3" : null,"f33":`), 1)
				}
				if events != nil {
					if i%2 == 0 {
						m.Headers = append(m.Headers, stream.Header{Key: "ce_specversion", Value: []byte("1.0")}, stream.Header{Key: "ce_id", Value: []byte("7")}, stream.Header{Key: "ce_type", Value: []byte("k")}, stream.Header{Key: "ce_source", Value: []byte("/s")})
					} else {
						m.Value = fmt.Appendf(nil, `{"specversion":"1.0","id":"7","type":"k","source":"/s","data":%s}`, m.Value)
					}
				}
				mixed = append(mixed, m)
			}
			c := caller(t, events)
			var alone []string
			for i := range mixed {
				alone = append(alone, show(c.Answer(mixed[i:i+1], nil)[0]))
			}
			if n := slices.Index(alone, ""); n != 7 {
				t.Fatalf("the first message without an answer is %d", n)
			}
			list := c.Answer(mixed, nil)
			for range 2 {
				for i, m := range list {
					if got := show(m); got != alone[i] {
						t.Errorf("message %d in a group: %s\nalone: %s", i, got, alone[i])
					}
				}
				for _, m := range list {
					if m != nil {
						_, _ = append(m.Value, "overwritten"...), append(m.Headers, stream.Header{Key: "overwritten"})
					}
				}
			}
		})
	}
}

// show is a result as text; "": there is none.
func show(m *stream.Message) string {
	if m == nil {
		return ""
	}
	s := fmt.Sprintf("%s=%s", m.Key, m.Value)
	for _, h := range m.Headers {
		s += fmt.Sprintf(" %s:%s", h.Key, h.Value)
	}
	return s
}
