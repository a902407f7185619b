package main

import (
	"encoding/binary"
	"math"
	"strconv"

	"serval"
	"serval/batch"
	"serval/batch/parquet"
)

// writeParquet makes the same table as write, as Parquet.
func (b *bench) writeParquet(path string) error {
	w, err := parquet.Format{}.Create(path, nil, nil)
	if err != nil {
		return err
	}
	const block = 8192
	have := int64(len(b.data) / 4 / b.features)
	vectors := make([]batch.Vector, b.features+1)
	vectors[0] = batch.Vector{Name: "id", DType: serval.Bytes}
	for c := range b.features {
		vectors[c+1] = batch.Vector{Name: "f" + strconv.Itoa(c), DType: serval.FP32}
	}
	for from := int64(0); from < b.rows; from += block {
		n := min(block, b.rows-from)
		for i := range vectors {
			vectors[i].Data, vectors[i].Null = vectors[i].Data[:0], nil
		}
		for row := from; row < from+n; row++ {
			vectors[0].Data = serval.AppendString(vectors[0].Data, "r"+strconv.FormatInt(row, 10))
			at := row % have * int64(4*b.features)
			for c := range b.features {
				v := binary.LittleEndian.Uint32(b.data[at+int64(4*c):])
				if f := math.Float32frombits(v); f != f { // as in the CSV file, whose nan is read as one
					v = math.Float32bits(float32(math.NaN()))
				}
				vectors[c+1].Data = binary.LittleEndian.AppendUint32(vectors[c+1].Data, v)
			}
		}
		if err := w.Write(vectors, int(n)); err != nil {
			return err
		}
	}
	return w.Close()
}
