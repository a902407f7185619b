package serval

// DType is a tensor's element type, as named by the Open Inference Protocol.
type DType uint8

// The element types. Bytes is the protocol's BYTES: every element is a 4-byte little-endian length and that many bytes.
const (
	InvalidType DType = iota
	Bool
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	FP16
	BF16
	FP32
	FP64
	Bytes
	numDTypes
)

var dtypeNames = [numDTypes]string{"INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64",
	"INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"}

var dtypeSizes = [numDTypes]int{0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 0}

// String is the Open Inference Protocol's name: FP32, INT64, BYTES, …
func (d DType) String() string {
	if d >= numDTypes {
		d = InvalidType
	}
	return dtypeNames[d]
}

// Size is the number of bytes of one element; 0 for Bytes, whose elements vary, and for InvalidType.
func (d DType) Size() int {
	if d >= numDTypes {
		return 0
	}
	return dtypeSizes[d]
}

// ParseDType reads an Open Inference Protocol name; it reports false for any other text.
func ParseDType(name string) (DType, bool) {
	for d := Bool; d < numDTypes; d++ {
		if dtypeNames[d] == name {
			return d, true
		}
	}
	return InvalidType, false
}
