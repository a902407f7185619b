package onnx

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/ebitengine/purego"

	"serval"
)

// kind is what ONNX Runtime calls an ONNXType: how a value turns into a tensor.
type kind uint8

const (
	tensorKind  kind = iota
	tensorsKind      // a sequence of tensors, stacked into one
	mapKind          // a map from class to score: one row
	mapsKind         // a sequence of such maps: a classical model's probabilities
)

// value describes an input or output as ONNX Runtime has it.
type value struct {
	info    serval.TensorInfo
	kind    kind
	element elementType // of the tensor, or of the maps' values
	keys    elementType // of the maps
	name    []byte      // the C string
}

// side is one list of a session: its inputs, outputs or the initializers that an input may override.
type side struct {
	count, name, info function
	what              string
}

var (
	inputSide       = side{fnSessionGetInputCount, fnSessionGetInputName, fnSessionGetInputTypeInfo, "input"}
	overridableSide = side{fnSessionGetOverridableInitializerCount, fnSessionGetOverridableInitializerName, fnSessionGetOverridableInitializerTypeInfo, "input"}
	outputSide      = side{fnSessionGetOutputCount, fnSessionGetOutputName, fnSessionGetOutputTypeInfo, "output"}
)

// list reads one side of a session.
func (l *library) list(session uintptr, s side) ([]value, error) {
	var n uintptr
	if err := l.call(s.count, session, uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	values := make([]value, n)
	for i := range values {
		var p, info uintptr
		if err := l.call(s.name, session, uintptr(i), l.allocator, uintptr(unsafe.Pointer(&p))); err != nil {
			return nil, err
		}
		name, err := l.takeString(p)
		if err != nil {
			return nil, err
		}
		v := &values[i]
		v.info.Name, v.name = name, cString(name)
		if err := l.call(s.info, session, uintptr(i), uintptr(unsafe.Pointer(&info))); err != nil {
			return nil, err
		}
		err = l.describe(info, v, s.what == "output")
		l.release(fnReleaseTypeInfo, info)
		if err != nil {
			return nil, serval.Errorf(serval.Unimplemented, "%s '%s' %w", s.what, name, err).At(name)
		}
	}
	return values, nil
}

// checkNames refuses names that ONNX Runtime accepts in a model, and by which nobody could then ask it.
func checkNames(s side, values []value) error {
	seen := map[string]bool{}
	for i := range values {
		name := values[i].info.Name
		var why string
		switch {
		case name == "":
			why = fmt.Sprintf("%s %d has no name", s.what, i)
		case !utf8.ValidString(name):
			why = fmt.Sprintf("the name of %s %d is not UTF-8: %q", s.what, i, name)
		case seen[name]:
			why = fmt.Sprintf("two %ss have the name '%s'", s.what, name)
		default:
			seen[name] = true
			continue
		}
		return serval.Errorf(serval.Unimplemented, "%s, so that requests cannot name it; rename it in the model", why).At(strings.ToValidUTF8(name, "?"))
	}
	return nil
}

// describe fills v by an OrtTypeInfo. Its error continues "output 'x' …".
func (l *library) describe(info uintptr, v *value, output bool) error {
	var t int32
	if err := l.call(fnGetOnnxTypeFromTypeInfo, info, uintptr(unsafe.Pointer(&t))); err != nil {
		return err
	}
	switch {
	case t == typeTensor:
		return l.tensorType(info, v)
	case t == typeSequence && output:
		return l.sequenceType(info, v)
	case t == typeMap && output:
		v.kind = mapKind
		v.info.Shape = []int64{-1}
		return l.mapType(info, v)
	}
	return fmt.Errorf("is %s, which cannot be served; only tensors%s can", typeName(t), map[bool]string{true: ", sequences and maps"}[output])
}

// hasShape is false for a tensor whose rank the model leaves open.
func (l *library) hasShape(tensor uintptr) bool {
	yes, _, _ := purego.SyscallN(l.table[fnTensorTypeAndShapeHasShape], tensor)
	return byte(yes) != 0
}

func typeName(t int32) string {
	if t < 0 || int(t) >= len(typeNames) {
		t = 0
	}
	return typeNames[t]
}

func (l *library) sequenceType(info uintptr, v *value) error {
	var sequence, inner uintptr
	if err := l.call(fnCastTypeInfoToSequenceTypeInfo, info, uintptr(unsafe.Pointer(&sequence))); err != nil {
		return err
	}
	if err := l.call(fnGetSequenceElementType, sequence, uintptr(unsafe.Pointer(&inner))); err != nil {
		return err
	}
	defer l.release(fnReleaseTypeInfo, inner)
	var t int32
	if err := l.call(fnGetOnnxTypeFromTypeInfo, inner, uintptr(unsafe.Pointer(&t))); err != nil {
		return err
	}
	switch t {
	case typeTensor:
		v.kind = tensorsKind
		if err := l.tensorType(inner, v); err != nil || v.info.Shape == nil {
			return err
		}
		v.info.Shape = append([]int64{-1}, v.info.Shape...)
		if v.info.Symbols != nil {
			v.info.Symbols = append([]string{""}, v.info.Symbols...)
		}
		return nil
	case typeMap:
		v.kind = mapsKind
		v.info.Shape = []int64{-1, -1}
		return l.mapType(inner, v)
	}
	return fmt.Errorf("is a sequence whose elements are %s, which cannot be served", typeName(t))
}

// mapType takes the type of a map's values; its keys become labels.
func (l *library) mapType(info uintptr, v *value) error {
	var m, inner uintptr
	var key int32
	if err := l.call(fnCastTypeInfoToMapTypeInfo, info, uintptr(unsafe.Pointer(&m))); err != nil {
		return err
	}
	if err := l.call(fnGetMapKeyType, m, uintptr(unsafe.Pointer(&key))); err != nil {
		return err
	}
	v.keys = elementType(key)
	if d := v.keys.dtype(); d != serval.Int64 && d != serval.Bytes {
		return fmt.Errorf("is a map with keys of type %s, which cannot be served; only int64 and string can", d)
	}
	if err := l.call(fnGetMapValueType, m, uintptr(unsafe.Pointer(&inner))); err != nil {
		return err
	}
	defer l.release(fnReleaseTypeInfo, inner)
	shape := v.info.Shape
	err := l.tensorType(inner, v)
	v.info.Shape, v.info.Symbols = shape, nil
	return err
}

// tensorType takes element type, shape and the names of the dynamic dimensions.
func (l *library) tensorType(info uintptr, v *value) error {
	var tensor, n uintptr
	var element int32
	if err := l.call(fnCastTypeInfoToTensorInfo, info, uintptr(unsafe.Pointer(&tensor))); err != nil {
		return err
	}
	if err := l.call(fnGetTensorElementType, tensor, uintptr(unsafe.Pointer(&element))); err != nil {
		return err
	}
	v.element = elementType(element)
	if v.info.DType = v.element.dtype(); v.info.DType == serval.InvalidType {
		name := otherTypes[v.element]
		if name == "" {
			name = fmt.Sprintf("number %d", element)
		}
		return fmt.Errorf("has elements of type %s, for which the Open Inference Protocol has no name; cast it in the model", name)
	}
	if !l.hasShape(tensor) {
		return nil // any rank
	}
	if err := l.call(fnGetDimensionsCount, tensor, uintptr(unsafe.Pointer(&n))); err != nil {
		return err
	}
	v.info.Shape = make([]int64, n)
	if n == 0 {
		return nil
	}
	if err := l.call(fnGetDimensions, tensor, uintptr(unsafe.Pointer(&v.info.Shape[0])), n); err != nil {
		return err
	}
	symbols := make([]uintptr, n)
	if err := l.call(fnGetSymbolicDimensions, tensor, uintptr(unsafe.Pointer(&symbols[0])), n); err != nil {
		return err
	}
	if !slices.Contains(v.info.Shape, -1) {
		return nil
	}
	v.info.Symbols = make([]string, n)
	for i := range symbols {
		v.info.Symbols[i] = goString(symbols[i])
	}
	return nil
}
