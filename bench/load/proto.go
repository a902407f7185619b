package load

import (
	"encoding/binary"

	"serval"
)

// The field numbers of inference.ModelInferRequest and its InferInputTensor.
const (
	fieldModelName    = 1
	fieldModelVersion = 2
	fieldInputs       = 5
	fieldRawContents  = 7

	fieldTensorName  = 1
	fieldTensorDType = 2
	fieldTensorShape = 3
)

// protoBody writes an inference.ModelInferRequest by hand: the message is small, and a second copy of the generated code
// in one binary panics at start.
func protoBody(model, version string, inputs []serval.Tensor) []byte {
	b := appendProtoBytes(nil, fieldModelName, []byte(model))
	if version != "" {
		b = appendProtoBytes(b, fieldModelVersion, []byte(version))
	}
	for i := range inputs {
		t := &inputs[i]
		tensor := appendProtoBytes(nil, fieldTensorName, []byte(t.Name))
		tensor = appendProtoBytes(tensor, fieldTensorDType, []byte(t.DType.String()))
		var shape []byte
		for _, d := range t.Shape {
			shape = binary.AppendUvarint(shape, uint64(d))
		}
		tensor = appendProtoBytes(tensor, fieldTensorShape, shape) // packed
		b = appendProtoBytes(b, fieldInputs, tensor)
	}
	for i := range inputs {
		b = appendProtoBytes(b, fieldRawContents, inputs[i].Data)
	}
	return b
}

// appendProtoBytes appends a length-delimited field.
func appendProtoBytes(b []byte, field int, value []byte) []byte {
	const lengthDelimited = 2
	b = binary.AppendUvarint(b, uint64(field)<<3|lengthDelimited)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}
