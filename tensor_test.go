package serval

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestElements(t *testing.T) {
	cases := []struct {
		shape []int64
		n     int64
		ok    bool
	}{
		{nil, 1, true},
		{[]int64{2, 3}, 6, true},
		{[]int64{0, math.MaxInt64, math.MaxInt64}, 0, true},
		{[]int64{-1, 3}, 0, false},
		{[]int64{math.MaxInt64, 2}, 0, false},
		{[]int64{1_000_000_000_000, 30}, 30_000_000_000_000, true},
	}
	for _, c := range cases {
		if n, ok := Elements(c.shape); ok != c.ok || ok && n != c.n {
			t.Errorf("%v: %d, %v", c.shape, n, ok)
		}
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	cases := []struct {
		name string
		t    Tensor
		want string // "" = fine
	}{
		{"fits", Tensor{Name: "x", DType: FP32, Shape: []int64{2, 3}, Data: make([]byte, 24)}, ""},
		{"scalar", Tensor{Name: "x", DType: FP64, Data: make([]byte, 8)}, ""},
		{"empty", Tensor{Name: "x", DType: FP32, Shape: []int64{0, 3}}, ""},
		{"short", Tensor{Name: "x", DType: FP32, Shape: []int64{2, 3}, Data: make([]byte, 20)}, "input 'x': shape [2,3] of FP32 takes 24 bytes, the data holds 20"},
		{"odd", Tensor{Name: "x", DType: FP32, Shape: []int64{1}, Data: make([]byte, 5)}, "takes 4 bytes, the data holds 5"},
		{"huge", Tensor{Name: "x", DType: FP32, Shape: []int64{math.MaxInt64}, Data: make([]byte, 4)}, "takes more than 2^63 bytes"},
		{"overflow", Tensor{Name: "x", DType: FP32, Shape: []int64{math.MaxInt64, 2}}, "more elements than can be counted"},
		{"strings", Tensor{Name: "s", DType: Bytes, Shape: []int64{2}, Data: AppendString(AppendString(nil, "ä"), "")}, ""},
		{"few strings", Tensor{Name: "s", DType: Bytes, Shape: []int64{3}, Data: AppendString(nil, "a")}, "declares 3 strings, the data holds 1"},
		{"cut string", Tensor{Name: "s", DType: Bytes, Shape: []int64{1}, Data: []byte{9, 0, 0, 0, 'a'}}, "the length of string 0 (at byte 0) runs past the end"},
	}
	for _, c := range cases {
		err := c.t.Check()
		var e *Error
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.As(err, &e) || e.Code != InvalidArgument || e.Param != c.t.Name || !strings.Contains(e.Message, c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseRef(t *testing.T) {
	for _, s := range []string{"m", "m:3", "m@prod", "org/m", "org/m:7"} {
		r, err := ParseRef(s)
		if err != nil || r.String() != s {
			t.Errorf("%q: %v, %v", s, r, err)
		}
	}
	for _, s := range []string{"", ":1", "@a", "m:", "m@"} {
		if r, err := ParseRef(s); err == nil {
			t.Errorf("%q was read as %+v", s, r)
		}
	}
}

func TestAsErrorHidesWhatItDoesNotKnow(t *testing.T) {
	secret := errors.New("password in a path")
	e := AsError(secret)
	if e.Code != Internal || strings.Contains(e.Message, "password") || !errors.Is(e, secret) {
		t.Errorf("%+v", e)
	}
	known := Errorf(NotFound, "no such model")
	if AsError(known) != known {
		t.Error("a known error was changed")
	}
}
