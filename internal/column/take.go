package column

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"serval"
)

// take appends the page's next rows. Those that cannot be read are reported, and stand as if missing.
func (c *col) take(rows int, bad func(i int, why string)) {
	p := &c.page
	for i := 0; i < rows; {
		there, run := true, rows-i
		if p.Valid != nil {
			there, run = runOf(p.Valid[c.at+i : c.at+rows])
		}
		switch {
		case !there:
			if p.Spaced {
				c.value += run
			}
			c.missing(run)
		case c.list:
			for k := range run {
				c.row(i+k, bad)
			}
		default:
			c.values(c.value, run, i, bad)
			c.value += run
			c.nulls = appendFalse(c.nulls, run)
		}
		i += run
	}
	c.at += rows
}

// runOf says how many flags are like the first.
func runOf(flags []bool) (first bool, n int) {
	first = flags[0]
	for n = 1; n < len(flags) && flags[n] == first; n++ {
	}
	return first, n
}

func appendFalse(flags []bool, n int) []bool {
	at := len(flags)
	flags = slices.Grow(flags, n)[:at+n]
	clear(flags[at:])
	return flags
}

// zeros appends n zero bytes.
func zeros(dst []byte, n int) []byte {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	clear(dst[at:])
	return dst
}

// missing appends rows without a value.
func (c *col) missing(rows int) {
	c.blank(rows)
	c.null = true
	for range rows {
		c.nulls = append(c.nulls, true)
	}
}

// blank appends zeros, or empty elements, for rows.
func (c *col) blank(rows int) {
	if c.size == 0 {
		c.data = zeros(c.data, 4*rows*abs(c.each))
		return
	}
	c.data = zeros(c.data, rows*c.size*c.each)
}

func abs(n int) int { return max(n, -n) }

// values appends n values from one on; the first is of the row i.
func (c *col) values(from, n, i int, bad func(i int, why string)) {
	p, e := &c.page, c.page.Elems
	if e.Bad != nil {
		c.checked(from, n, func(k int, why string) { bad(i+k, why) })
		return
	}
	switch {
	case p.Index == nil && e.Size > 0:
		c.data = append(c.data, e.Data[from*e.Size:(from+n)*e.Size]...)
	case p.Index == nil:
		c.data = append(c.data, e.Data[e.Off[from]:e.Off[from+n]]...)
	case e.Size == 4:
		at := len(c.data)
		c.data = slices.Grow(c.data, 4*n)[:at+4*n]
		dst := c.data[at:]
		for k, x := range p.Index[from : from+n] {
			binary.LittleEndian.PutUint32(dst[4*k:], binary.LittleEndian.Uint32(e.Data[4*x:]))
		}
	case e.Size > 0:
		for _, x := range p.Index[from : from+n] {
			c.data = append(c.data, e.Data[int(x)*e.Size:(int(x)+1)*e.Size]...)
		}
	default:
		for _, x := range p.Index[from : from+n] {
			c.data = append(c.data, e.Data[e.Off[x]:e.Off[x+1]]...)
		}
	}
}

// checked is values where some elements are bad.
func (c *col) checked(from, n int, bad func(k int, why string)) {
	p, e := &c.page, c.page.Elems
	for k := range n {
		x := from + k
		if p.Index != nil {
			x = int(p.Index[x])
		}
		if why, is := e.Bad[x]; is {
			bad(k, why)
			if e.Size > 0 {
				c.data = zeros(c.data, e.Size)
			} else {
				c.data = zeros(c.data, 4)
			}
			continue
		}
		if e.Size > 0 {
			c.data = append(c.data, e.Data[x*e.Size:(x+1)*e.Size]...)
		} else {
			c.data = append(c.data, e.Data[e.Off[x]:e.Off[x+1]]...)
		}
	}
}

// row appends the list of row i after the taken ones.
func (c *col) row(i int, bad func(i int, why string)) {
	p := &c.page
	a, b := p.Starts[c.at+i], p.Starts[c.at+i+1]
	c.nulls = append(c.nulls, false)
	if c.each < 0 {
		c.json(a, b, i, bad)
		return
	}
	if b-a != c.each {
		bad(i, fmt.Sprintf("a list of %d values, where %s are needed", b-a, serval.ShapeString(c.Shape)))
		c.blank(1)
		return
	}
	at, fault := len(c.data), ""
	c.values(a, b-a, 0, func(k int, why string) { fault = fmt.Sprintf("value %d of the list: %s", k+1, why) })
	for k := a; k < b && p.Present != nil; k++ {
		if p.Present[k] {
			continue
		}
		if c.size == 0 || !setNaN(c.Type, c.data[at+(k-a)*c.size:]) {
			fault = fmt.Sprintf("value %d of the list is missing", k-a+1)
			break
		}
	}
	if fault != "" {
		bad(i, fault)
		c.data = c.data[:at]
		c.blank(1)
	}
}

// setNaN makes the first element the missing number; false for a type that has none.
func setNaN(d serval.DType, data []byte) bool {
	switch d {
	case serval.FP64:
		binary.LittleEndian.PutUint64(data, math.Float64bits(math.NaN()))
	case serval.FP32:
		binary.LittleEndian.PutUint32(data, math.Float32bits(float32(math.NaN())))
	case serval.FP16:
		binary.LittleEndian.PutUint16(data, 0x7e00)
	case serval.BF16:
		binary.LittleEndian.PutUint16(data, 0x7fc0)
	default:
		return false
	}
	return true
}

// json appends a list as the JSON of its elements, which they are.
func (c *col) json(a, b, i int, bad func(i int, why string)) {
	p, e := &c.page, c.page.Elems
	at := len(c.data)
	c.data = append(c.data, 0, 0, 0, 0, '[')
	for k := a; k < b; k++ {
		if k > a {
			c.data = append(c.data, ',')
		}
		if p.Present != nil && !p.Present[k] {
			c.data = append(c.data, "null"...)
			continue
		}
		if why, is := e.Bad[k]; is {
			bad(i, fmt.Sprintf("value %d of the list: %s", k-a+1, why))
		}
		c.data = append(c.data, e.Data[e.Off[k]+4:e.Off[k+1]]...)
	}
	c.data = append(c.data, ']')
	binary.LittleEndian.PutUint32(c.data[at:], uint32(len(c.data)-at-4))
}
