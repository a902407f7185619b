package stream_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
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
