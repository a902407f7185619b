package safetensors

// DType is how a tensor's elements are stored, by the name that the format has for it.
type DType string

// The types whose values this module converts. The format knows more, of which only the size matters here.
const (
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

// Size is how many bytes an element takes; 0 for a type that is not known.
func (t DType) Size() int64 {
	switch t {
	case "BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0":
		return 1
	case F16, BF16, "I16", "U16":
		return 2
	case F32, "I32", "U32":
		return 4
	case "F64", "I64", "U64", "C64":
		return 8
	}
	return 0
}
