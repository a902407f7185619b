package oip

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"serval"
)

// The writing half of the codec: a ModelInferResponse straight into one of gRPC's pooled buffers.

// encoded is a message that is bytes already; it implements protocol.WireWriter.
type encoded struct{ buffers [1]mem.Buffer }

// WriteWire hands the bytes over.
func (e *encoded) WriteWire() (mem.BufferSlice, error) { return e.buffers[:], nil }

// free gives the memory back where the message is not to be sent after all.
func (e *encoded) free() {
	if e != nil {
		e.buffers[0].Free()
	}
}

// response is what a ModelInferResponse is made of.
type response struct {
	model, version, id string
	results            []result
	final              finalParam
}

// finalParam is the parameter triton_final_response: on streams it says whether an answer is the request's last.
type finalParam uint8

const (
	finalUnsaid finalParam = iota
	finalNo
	finalYes
)

const finalName = "triton_final_response"

// finalSize is the size of the map's entry: a key, and an InferParameter whose bool_param is set. A false is written too,
// as a oneof's member must be.
const finalSize = 2 + len(finalName) + 2 + 2

// encode writes the response as a message of its own.
func (r *response) encode() *encoded {
	size := r.size()
	buf, data := newMessage(size)
	return finish(buf, r.append(data))
}

// encodeStream writes the response as the infer_response of a ModelStreamInferResponse, beside an error_message if there is
// one.
func (r *response) encodeStream(message string) *encoded {
	inner := r.size()
	size := 1 + protowire.SizeBytes(inner)
	if message != "" {
		size += 1 + protowire.SizeBytes(len(message))
	}
	buf, data := newMessage(size)
	data = appendText(data, 1, message)
	data = appendLength(data, 2, inner)
	return finish(buf, r.append(data))
}

// newMessage gives memory for a message of that size, of gRPC's pool where that pays, as gRPC's own codec does. buf is nil
// where the memory is not pooled.
func newMessage(size int) (buf *[]byte, data []byte) {
	if mem.IsBelowBufferPoolingThreshold(size) {
		return nil, make([]byte, 0, size)
	}
	buf = mem.DefaultBufferPool().Get(size)
	return buf, (*buf)[:0]
}

func finish(buf *[]byte, data []byte) *encoded {
	if buf == nil {
		return &encoded{[1]mem.Buffer{mem.SliceBuffer(data)}}
	}
	*buf = data
	return &encoded{[1]mem.Buffer{mem.NewBuffer(buf, mem.DefaultBufferPool())}}
}

func (r *response) size() int {
	n := textSize(r.model) + textSize(r.version) + textSize(r.id)
	if r.final != finalUnsaid {
		n += 1 + protowire.SizeBytes(finalSize)
	}
	for i := range r.results {
		o := &r.results[i]
		n += 1 + protowire.SizeBytes(outputSize(&o.Tensor))
		n += 1 + protowire.SizeBytes(len(o.raw()))
	}
	return n
}

// append writes the response behind b.
func (r *response) append(b []byte) []byte {
	b = appendText(b, 1, r.model)
	b = appendText(b, 2, r.version)
	b = appendText(b, 3, r.id)
	if r.final != finalUnsaid {
		b = appendLength(b, 4, finalSize)
		b = appendText(b, 1, finalName)
		b = appendLength(b, 2, 2)
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = append(b, byte(r.final-finalNo))
	}
	for i := range r.results {
		b = appendOutput(b, &r.results[i].Tensor)
	}
	// As many raw contents as outputs, also where there is nothing to send: clients pair the two lists.
	for i := range r.results {
		raw := r.results[i].raw()
		b = appendLength(b, 6, len(raw))
		b = append(b, raw...)
	}
	return b
}

// raw is the data that goes over the wire.
func (r *result) raw() []byte {
	if r.shared {
		return nil
	}
	return r.Data
}

func outputSize(t *serval.Tensor) int {
	n := textSize(t.Name) + textSize(t.DType.String())
	if len(t.Shape) > 0 {
		n += 1 + protowire.SizeBytes(shapeSize(t.Shape))
	}
	return n
}

func appendOutput(b []byte, t *serval.Tensor) []byte {
	b = appendLength(b, 5, outputSize(t))
	b = appendText(b, 1, t.Name)
	b = appendText(b, 2, t.DType.String())
	if len(t.Shape) > 0 {
		b = appendLength(b, 3, shapeSize(t.Shape))
		for _, d := range t.Shape {
			b = protowire.AppendVarint(b, uint64(d))
		}
	}
	return b
}

func shapeSize(shape []int64) int {
	n := 0
	for _, d := range shape {
		n += protowire.SizeVarint(uint64(d))
	}
	return n
}

// The tags of fields 1 to 15 take one byte; all of these are.

func textSize(s string) int {
	if s == "" {
		return 0
	}
	return 1 + protowire.SizeBytes(len(s))
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return append(appendLength(b, num, len(s)), s...)
}

func appendLength(b []byte, num protowire.Number, n int) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(n))
}
