package onnx_test

import (
	"encoding/binary"
	"math"

	"serval"
)

func floats(data []byte) []float32 {
	list := make([]float32, len(data)/4)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return list
}

func fp32(name string, shape []int64, values ...float32) serval.Tensor {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return serval.Tensor{Name: name, DType: serval.FP32, Shape: shape, Data: data}
}

func int64s(name string, shape []int64, values ...int64) serval.Tensor {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return serval.Tensor{Name: name, DType: serval.Int64, Shape: shape, Data: data}
}

func text(name string, shape []int64, values ...string) serval.Tensor {
	var data []byte
	for _, v := range values {
		data = serval.AppendString(data, v)
	}
	return serval.Tensor{Name: name, DType: serval.Bytes, Shape: shape, Data: data}
}
