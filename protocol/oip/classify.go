package oip

import (
	"encoding/binary"
	"slices"
	"strconv"

	"serval"
)

// classify replaces t by the k highest of each row as strings "value:index" or "value:index:label", as the classification
// extension asks. A row is everything behind the first dimension; a tensor of one dimension is one row. NaN sorts last,
// equal values by index. The new data lives in c until the next results.
func (c *call) classify(t *serval.Tensor, k int) error {
	rows, each := int64(1), int64(1)
	if n, ok := serval.Elements(t.Shape); ok {
		each = n
	}
	if len(t.Shape) > 1 {
		rows = t.Shape[0]
		if rows > 0 {
			each /= rows
		}
	}
	at := t.DType.Numbers()
	if at == nil || int64(len(t.Data)) != rows*each*int64(t.DType.Size()) {
		return serval.Errorf(serval.InvalidArgument, "output '%s' is of type %s: classification ranks numbers; ask for it without", t.Name, t.DType).At(t.Name)
	}
	k = int(min(int64(k), each))
	if k == 0 {
		rows = 0 // nothing to rank in any number of rows
	}
	order := make([]int32, each)
	start := len(c.text)
	for row := range rows {
		data := t.Data[row*each*int64(t.DType.Size()):]
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortFunc(order, func(a, b int32) int {
			x, y := at(data, int(a)), at(data, int(b))
			switch {
			case x > y, y != y && x == x:
				return -1
			case x < y, x != x && y == y:
				return 1
			}
			return int(a - b)
		})
		for _, i := range order[:k] {
			c.appendClass(t, at(data, int(i)), int(i))
		}
	}
	dims := len(c.dims)
	if len(t.Shape) > 1 {
		c.dims = append(c.dims, t.Shape[0])
	}
	c.dims = append(c.dims, int64(k))
	t.DType, t.Shape, t.Data = serval.Bytes, c.dims[dims:], c.text[start:]
	return nil
}

func (c *call) appendClass(t *serval.Tensor, v float64, i int) {
	at := len(c.text)
	c.text = append(c.text, 0, 0, 0, 0)
	if t.DType == serval.FP32 || t.DType == serval.FP64 || t.DType == serval.FP16 || t.DType == serval.BF16 {
		c.text = strconv.AppendFloat(c.text, v, 'f', 6, 64)
	} else {
		c.text = strconv.AppendFloat(c.text, v, 'f', -1, 64)
	}
	c.text = strconv.AppendInt(append(c.text, ':'), int64(i), 10)
	if i < len(t.Labels) {
		c.text = append(append(c.text, ':'), t.Labels[i]...)
	}
	binary.LittleEndian.PutUint32(c.text[at:], uint32(len(c.text)-at-4))
}
