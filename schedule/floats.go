package schedule

import "serval"

// floats reads a tensor of floating-point numbers; nil for other types.
func floats(t *serval.Tensor) []float64 {
	switch t.DType {
	case serval.FP16, serval.BF16, serval.FP32, serval.FP64:
	default:
		return nil
	}
	read := t.DType.Numbers()
	out := make([]float64, len(t.Data)/t.DType.Size())
	for i := range out {
		out[i] = read(t.Data, i)
	}
	return out
}
