package client

import (
	"slices"

	"serval"
)

// Batches cuts inputs into requests of at most rows rows each, where all of them have the same leading dimension and more
// rows than that; else it gives them back whole. The parts share the inputs' memory.
func Batches(inputs []serval.Tensor, rows int64) [][]serval.Tensor {
	if len(inputs) == 0 || rows < 1 || len(inputs[0].Shape) == 0 {
		return [][]serval.Tensor{inputs}
	}
	total := inputs[0].Shape[0]
	same := !slices.ContainsFunc(inputs, func(t serval.Tensor) bool { return len(t.Shape) == 0 || t.Shape[0] != total })
	if !same || total <= rows {
		return [][]serval.Tensor{inputs}
	}
	var parts [][]serval.Tensor
	rest := slices.Clone(inputs)
	for left := total; left > 0; left -= rows {
		n := min(rows, left)
		part := make([]serval.Tensor, len(rest))
		for i := range rest {
			part[i] = rest[i]
			part[i].Shape = append([]int64{n}, rest[i].Shape[1:]...)
			part[i].Data, rest[i].Data = cut(&rest[i], n, left)
		}
		parts = append(parts, part)
	}
	return parts
}

// cut splits the data of the first n of t's left rows off.
func cut(t *serval.Tensor, n, left int64) (head, tail []byte) {
	if t.DType != serval.Bytes {
		at := int64(len(t.Data)) / left * n
		return t.Data[:at:at], t.Data[at:]
	}
	each, _ := serval.Elements(t.Shape[1:])
	tail = t.Data
	for range n * each {
		_, tail, _ = serval.NextBytes(tail)
	}
	at := len(t.Data) - len(tail)
	return t.Data[:at:at], tail
}

// Join puts the outputs of such parts together again, in order. All parts must have the same outputs, with rows of the same
// shape.
func Join(parts [][]serval.Tensor) ([]serval.Tensor, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	whole := slices.Clone(parts[0])
	for i := range whole {
		whole[i].Shape, whole[i].Data = slices.Clone(whole[i].Shape), slices.Clone(whole[i].Data)
	}
	for _, part := range parts[1:] {
		if len(part) != len(whole) {
			return nil, serval.Errorf(serval.InvalidArgument, "one part of the rows has %d outputs, the first one %d", len(part), len(whole))
		}
		for i := range part {
			w, p := &whole[i], &part[i]
			if p.Name != w.Name || p.DType != w.DType || len(p.Shape) == 0 || len(w.Shape) == 0 || !slices.Equal(p.Shape[1:], w.Shape[1:]) {
				return nil, serval.Errorf(serval.InvalidArgument, "output '%s': shape %s after shape %s: parts of the rows cannot be joined; send all of them in one request",
					w.Name, serval.ShapeString(p.Shape), serval.ShapeString(w.Shape)).At(w.Name)
			}
			w.Shape[0] += p.Shape[0]
			w.Data = append(w.Data, p.Data...)
		}
	}
	return whole, nil
}
