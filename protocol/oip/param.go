package oip

import (
	"math"
	"strconv"
	"strings"

	"serval"
)

// value is a parameter's value, as either wire brings it. Make it with boolValue, intValue, uintValue, floatValue or
// stringValue.
type value struct {
	kind valueKind
	n    uint64 // isUint, and isBool (0 or 1)
	s    string
}

type valueKind uint8

const (
	isOther valueKind = iota // null, an array, an object, a negative or fractional number: nothing here takes one
	isBool
	isUint
	isString
)

func boolValue(b bool) value {
	if b {
		return value{kind: isBool, n: 1}
	}
	return value{kind: isBool}
}

func intValue(i int64) value {
	if i < 0 {
		return value{}
	}
	return value{kind: isUint, n: uint64(i)}
}

func uintValue(u uint64) value { return value{kind: isUint, n: u} }

func floatValue(f float64) value {
	if f >= 0 && f < 1<<63 && f == math.Trunc(f) {
		return uintValue(uint64(f))
	}
	return value{}
}

func stringValue(s string) value { return value{kind: isString, s: s} }

// setParam takes a request parameter. A name that means nothing to the protocol is the model's own and is let pass.
func (c *call) setParam(name string, v value) error {
	const where = "parameters."
	switch name {
	case "priority":
		n, err := v.uint(where, name)
		if err == nil && n > math.MaxInt8 {
			err = badParam(where, name, "a whole number from 0 (the default) to 127, where 1 is the most urgent")
		}
		c.req.Priority = int8(n)
		return err
	case "timeout":
		n, err := v.uint(where, name)
		c.req.Timeout = timeoutOf(n)
		return err
	case "binary_data_output":
		return v.setBool(&c.binaryOutput, where, name)
	case "triton_enable_empty_final_response":
		return v.setBool(&c.emptyFinal, where, name)
	case "sequence_id":
		return c.setSequence(v, where, name)
	case "sequence_start":
		return v.setBool(&c.req.Sequence.Start, where, name)
	case "sequence_end":
		return v.setBool(&c.req.Sequence.End, where, name)
	}
	if strings.HasPrefix(name, "triton_") {
		return serval.Errorf(serval.InvalidArgument, "%s%s: names that begin with triton_ are reserved, and this is none that is known", where, name).At(where + name)
	}
	return nil
}

// setSequence takes a number or a text; 0 and "" mean no sequence, as at Triton.
func (c *call) setSequence(v value, where, name string) error {
	switch v.kind {
	case isString:
		id, err := v.string(where, name)
		c.req.Sequence.ID = id
		return err
	case isUint:
		n, err := v.uint(where, name)
		if c.req.Sequence.ID = ""; n > 0 {
			c.req.Sequence.ID = strconv.FormatUint(n, 10)
		}
		return err
	}
	return badParam(where, name, "a whole number from 0 up or a string")
}

// setParam takes a parameter of an input; unknown names are let pass.
func (s *source) setParam(input, name string, v value) (err error) {
	switch name {
	case "binary_data_size":
		var n uint64
		if n, err = v.uint("input '"+input+"': ", name); err == nil && n > math.MaxInt64 {
			err = badParam("input '"+input+"': ", name, "the number of bytes of its data")
		}
		s.binarySize = int64(n)
	case "shared_memory_region":
		s.region, err = v.string("input '"+input+"': ", name)
		s.shared = true
	case "shared_memory_offset":
		s.offset, err = v.uint("input '"+input+"': ", name)
	case "shared_memory_byte_size":
		s.size, err = v.uint("input '"+input+"': ", name)
		s.sized = true
	}
	return err
}

// setParam takes a parameter of a requested output; unknown names are let pass.
func (w *want) setParam(name string, v value) (err error) {
	switch name {
	case "binary_data":
		w.binarySet = true
		err = v.setBool(&w.binary, "output '"+w.name+"': ", name)
	case "classification":
		var n uint64
		if n, err = v.uint("output '"+w.name+"': ", name); err == nil && (n == 0 || n > math.MaxInt32) {
			err = badParam("output '"+w.name+"': ", name, "the number of classes to answer, from 1 up")
		}
		w.classes = int(n)
	case "shared_memory_region":
		w.region, err = v.string("output '"+w.name+"': ", name)
		w.shared = true
	case "shared_memory_offset":
		w.offset, err = v.uint("output '"+w.name+"': ", name)
	case "shared_memory_byte_size":
		w.size, err = v.uint("output '"+w.name+"': ", name)
		w.sized = true
	}
	return err
}

func (v value) uint(where, name string) (uint64, error) {
	if v.kind != isUint {
		return 0, badParam(where, name, "a whole number from 0 up")
	}
	return v.n, nil
}

func (v value) string(where, name string) (string, error) {
	if v.kind != isString {
		return "", badParam(where, name, "a string")
	}
	return v.s, nil
}

func (v value) setBool(dst *bool, where, name string) error {
	if v.kind != isBool {
		return badParam(where, name, "true or false")
	}
	*dst = v.n == 1
	return nil
}

func badParam(where, name, want string) error {
	return serval.Errorf(serval.InvalidArgument, "%s%s must be %s", where, name, want).At(name)
}
