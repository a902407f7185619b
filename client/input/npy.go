package input

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"serval"
	"serval/client/element"
)

const (
	npyMagic   = "\x93NUMPY"
	maxEntry   = 1 << 31 // bytes of one array in an .npz
	maxEntries = 4096    // arrays in an .npz
)

// readNPY reads one array: the model's only input.
func readNPY(data []byte, m Model) (*Input, error) {
	if len(m.Signature.Inputs) != 1 {
		return nil, fmt.Errorf("one array, where the model has the inputs %s; save them by name with numpy.savez into an .npz", m.inputNames())
	}
	t, err := arrayFor(data, &m.Signature.Inputs[0])
	if err != nil {
		return nil, err
	}
	return &Input{Tensors: []serval.Tensor{t}}, nil
}

// readNPZ reads arrays by the inputs' names; a lone array may have any name where the model has one input.
func readNPZ(data []byte, m Model) (*Input, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("not an .npz file: %w", err)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("%d arrays; at most %d are read", len(z.File), maxEntries)
	}
	in := &Input{}
	for _, f := range z.File {
		name := strings.TrimSuffix(f.Name, ".npy")
		if len(z.File) == 1 && len(m.Signature.Inputs) == 1 {
			name = m.Signature.Inputs[0].Name
		}
		info, err := m.info(name)
		if err != nil {
			return nil, err
		}
		array, err := readEntry(f)
		if err != nil {
			return nil, atInput(name, err)
		}
		t, err := arrayFor(array, info)
		if err != nil {
			return nil, err
		}
		in.Tensors = append(in.Tensors, t)
	}
	return in, m.required(in.Tensors)
}

func readEntry(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxEntry+1))
	if err == nil && len(data) > maxEntry {
		err = fmt.Errorf("the array %s has more than %d bytes", path.Base(f.Name), maxEntry)
	}
	return data, err
}

// arrayFor reads an array as the named input: converted to its type, and with its shape fitted.
func arrayFor(data []byte, info *serval.TensorInfo) (serval.Tensor, error) {
	t, err := ParseNPY(data)
	if err != nil {
		return t, atInput(info.Name, err)
	}
	t.Name = info.Name
	if t.Data, err = element.Convert(nil, t.Data, t.DType, info.DType); err != nil {
		return t, atInput(info.Name, err)
	}
	t.DType = info.DType
	if t.Shape, err = fit(t.Shape, info); err != nil {
		return t, atInput(info.Name, err)
	}
	return t, nil
}

// ParseNPY reads an array in NumPy's format (versions 1 to 3) into an unnamed tensor that owns its data: numbers and bools
// as they are, texts and byte strings as Bytes. Memory stays in proportion to the data.
func ParseNPY(data []byte) (serval.Tensor, error) {
	var t serval.Tensor
	header, body, err := splitNPY(data)
	if err != nil {
		return t, err
	}
	h, err := parseHeader(header)
	if err != nil {
		return t, fmt.Errorf("not an .npy file: %w", err)
	}
	n, ok := serval.Elements(h.shape)
	if !ok || n > int64(len(body)) && h.size > 0 || n*int64(h.size) != int64(len(body)) || h.size == 0 && n > maxEntries {
		return t, fmt.Errorf("shape %s of %s does not agree with the %d bytes of data that the file holds", serval.ShapeString(h.shape), h.descr, len(body))
	}
	items := bytes.Clone(body)
	if h.fortran && len(h.shape) > 1 {
		items = transpose(body, h.shape, h.size)
	}
	if h.big {
		swap(items, h.unit)
	}
	t = serval.Tensor{DType: h.dtype, Shape: h.shape, Data: items}
	if h.dtype == serval.Bytes {
		t.Data, err = texts(items, h, int(n))
	}
	return t, err
}

func splitNPY(data []byte) (header string, body []byte, err error) {
	if !bytes.HasPrefix(data, []byte(npyMagic)) || len(data) < 12 {
		return "", nil, fmt.Errorf("not an .npy file: it does not start as one")
	}
	n, at := int(binary.LittleEndian.Uint16(data[8:])), 10
	switch data[6] {
	case 1:
	case 2, 3:
		n, at = int(binary.LittleEndian.Uint32(data[8:])), 12
	default:
		return "", nil, fmt.Errorf("an .npy file of version %d; versions 1 to 3 are known", data[6])
	}
	if n > len(data)-at {
		return "", nil, fmt.Errorf("not an .npy file: its header is cut short")
	}
	return string(data[at : at+n]), data[at+n:], nil
}

// npyHeader is what the header says of the array.
type npyHeader struct {
	descr   string
	dtype   serval.DType
	size    int  // bytes of an item
	unit    int  // bytes that a change of byte order turns round
	big     bool // big-endian
	wide    bool // texts: 4 bytes a character
	fortran bool
	shape   []int64
}

// parseHeader reads the Python dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
func parseHeader(s string) (npyHeader, error) {
	var h npyHeader
	s = strings.TrimSpace(s)
	inner, opened := strings.CutPrefix(s, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !opened || !closed {
		return h, fmt.Errorf("its header is not a dictionary")
	}
	seen := map[string]bool{}
	for inner = strings.TrimSpace(inner); inner != ""; {
		key, rest, err := cutQuoted(inner)
		if err != nil {
			return h, err
		}
		rest, ok := strings.CutPrefix(strings.TrimSpace(rest), ":")
		if !ok || seen[key] {
			return h, fmt.Errorf("the key %q stands alone or twice", key)
		}
		seen[key] = true
		if rest, err = h.set(key, strings.TrimSpace(rest)); err != nil {
			return h, err
		}
		inner = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), ","))
	}
	if !seen["descr"] || !seen["fortran_order"] || !seen["shape"] {
		return h, fmt.Errorf("its header lacks descr, fortran_order or shape")
	}
	return h, nil
}

// set reads one value and returns what follows it.
func (h *npyHeader) set(key, s string) (rest string, err error) {
	switch key {
	case "descr":
		if strings.HasPrefix(s, "[") {
			return "", fmt.Errorf("a structured array; save one array an input")
		}
		if h.descr, rest, err = cutQuoted(s); err != nil {
			return "", err
		}
		return rest, h.describe()
	case "fortran_order":
		if rest, ok := strings.CutPrefix(s, "True"); ok {
			h.fortran = true
			return rest, nil
		}
		if rest, ok := strings.CutPrefix(s, "False"); ok {
			return rest, nil
		}
		return "", fmt.Errorf("fortran_order is neither True nor False")
	case "shape":
		open, ok := strings.CutPrefix(s, "(")
		list, rest, closed := strings.Cut(open, ")")
		if !ok || !closed {
			return "", fmt.Errorf("shape is not a tuple")
		}
		h.shape = []int64{}
		for part := range strings.SplitSeq(list, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSuffix(part, "L"), 10, 64)
			if err != nil || n < 0 || len(h.shape) == 64 {
				return "", fmt.Errorf("shape (%s) is not one", list)
			}
			h.shape = append(h.shape, n)
		}
		return rest, nil
	}
	return "", fmt.Errorf("its header has the unknown key %q", key)
}

// describe reads an array-protocol type string: byte order, kind, size.
func (h *npyHeader) describe() error {
	d := strings.TrimLeft(h.descr, "<>|=")
	h.big = strings.HasPrefix(h.descr, ">")
	if d == "" {
		return fmt.Errorf("descr is empty")
	}
	if d[0] == 'O' {
		return fmt.Errorf("an array of Python objects; save it as numbers, or as texts with .astype(str)")
	}
	n, err := strconv.Atoi(d[1:])
	if err != nil || n < 0 || n > 1<<20 {
		return fmt.Errorf("the type %q is not known", h.descr)
	}
	h.size, h.unit = n, n
	switch d[0] {
	case 'U':
		h.dtype, h.size, h.unit, h.wide = serval.Bytes, 4*n, 4, true
		return nil
	case 'S':
		h.dtype, h.unit = serval.Bytes, 1
		return nil
	}
	switch d {
	case "b1":
		h.dtype = serval.Bool
	case "u1", "u2", "u4", "u8":
		h.dtype = map[int]serval.DType{1: serval.Uint8, 2: serval.Uint16, 4: serval.Uint32, 8: serval.Uint64}[n]
	case "i1", "i2", "i4", "i8":
		h.dtype = map[int]serval.DType{1: serval.Int8, 2: serval.Int16, 4: serval.Int32, 8: serval.Int64}[n]
	case "f2", "f4", "f8":
		h.dtype = map[int]serval.DType{2: serval.FP16, 4: serval.FP32, 8: serval.FP64}[n]
	default:
		return fmt.Errorf("the type %q is not one that models take; use bool, int, uint, float or str", h.descr)
	}
	return nil
}

func cutQuoted(s string) (text, rest string, err error) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", "", fmt.Errorf("its header has %.20q where a quoted name must be", s)
	}
	text, rest, ok := strings.Cut(s[1:], s[:1])
	if !ok {
		return "", "", fmt.Errorf("its header has a quote without an end")
	}
	return text, rest, nil
}

// transpose lays out in row-major order what the file has column by column.
func transpose(body []byte, shape []int64, size int) []byte {
	dst := make([]byte, len(body))
	index := make([]int64, len(shape))
	strides := make([]int64, len(shape))
	step := int64(size)
	for i, d := range shape { // the first index runs fastest
		strides[i] = step
		step *= d
	}
	from := int64(0)
	for at := 0; at < len(dst); at += size {
		copy(dst[at:at+size], body[from:])
		for i := len(shape) - 1; i >= 0; i-- {
			index[i]++
			from += strides[i]
			if index[i] < shape[i] {
				break
			}
			from -= strides[i] * shape[i]
			index[i] = 0
		}
	}
	return dst
}

func swap(data []byte, unit int) {
	for at := 0; unit > 1 && at+unit <= len(data); at += unit {
		for i, j := at, at+unit-1; i < j; i, j = i+1, j-1 {
			data[i], data[j] = data[j], data[i]
		}
	}
}

// texts turns fixed-size items, filled up with zeros, into a Bytes tensor's data.
func texts(items []byte, h npyHeader, n int) ([]byte, error) {
	var dst, text []byte
	for i := range n {
		item := items[i*h.size : (i+1)*h.size]
		if !h.wide {
			dst = serval.AppendBytes(dst, bytes.TrimRight(item, "\x00"))
			continue
		}
		text = text[:0]
		for at := 0; at < len(item); at += 4 {
			c := rune(binary.LittleEndian.Uint32(item[at:]))
			if !utf8.ValidRune(c) || utf16.IsSurrogate(c) {
				return nil, fmt.Errorf("element %d: %#x is not a Unicode character", i, uint32(c))
			}
			text = utf8.AppendRune(text, c)
		}
		dst = serval.AppendBytes(dst, bytes.TrimRight(text, "\x00"))
	}
	return dst, nil
}
