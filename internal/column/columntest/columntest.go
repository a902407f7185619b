package columntest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"serval"
	"serval/batch"
	"serval/internal/testkit"
)

// Python runs a script of test/python/columns with pyarrow and pandas.
func Python(t testing.TB, script string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testkit.Cache(t, "venv-columns", "bin", "python"), append([]string{filepath.Join(testkit.Root(), "test/python/columns", script)}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			t.Fatalf("%s: %v\n%s", script, err, e.Stderr)
		}
		t.Fatal(err)
	}
	return out
}

// Expected reads what a script wrote: by column, by row.
func Expected(t testing.TB, raw []byte) map[string][]any {
	t.Helper()
	var m map[string][]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Open opens a file on this machine.
func Open(t testing.TB, f batch.Format, path string) batch.Reader {
	t.Helper()
	objects, err := batch.Files{}.Locate(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Open(t.Context(), objects[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// Values reads all rows of a file in blocks of n rows, by column. The reader is opened anew at its Mark after every again
// blocks; 0: never. A bad row fails the test.
func Values(t testing.TB, f batch.Format, path string, columns []batch.Column, n, again int) map[string][]any {
	t.Helper()
	out := map[string][]any{}
	r := Open(t, f, path)
	if columns == nil {
		columns = r.Columns()
	}
	if err := r.Select(columns, nil); err != nil {
		t.Fatal(err)
	}
	var b batch.Block
	row := int64(1)
	for k := 1; ; k++ {
		err := r.Read(context.Background(), &b, n)
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if b.First != row || b.Rows < 1 || b.Rows > n || len(b.Bad) > 0 {
			t.Fatalf("a block of %d rows from %d on, %d expected; bad: %v", b.Rows, b.First, row, b.Bad)
		}
		row += int64(b.Rows)
		for i := range b.Vectors {
			v := &b.Vectors[i]
			out[columns[i].Name] = append(out[columns[i].Name], Column(v, b.Rows)...)
		}
		if again > 0 && k%again == 0 {
			m := slices.Clone(r.Mark())
			r = Open(t, f, path)
			if err := r.Select(columns, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// Column is a vector's values: nil, bool, float64, {"int": digits}, string, or []any of them.
func Column(v *batch.Vector, rows int) []any {
	each := 1
	if v.Shape != nil {
		n, _ := serval.Elements(v.Shape)
		each = int(n)
	}
	out := make([]any, rows)
	rest := v.Data
	one := func(i int) any {
		switch v.DType {
		case serval.Bytes:
			e, next, ok := serval.NextBytes(rest)
			if !ok {
				return fmt.Errorf("cut off")
			}
			rest = next
			return string(e)
		case serval.Bool:
			return v.Data[i] != 0
		case serval.FP16, serval.BF16, serval.FP32, serval.FP64:
			return v.DType.Numbers()(v.Data, i)
		case serval.Uint64:
			return map[string]any{"int": strconv.FormatUint(uint64(leUint(v.Data[8*i:])), 10)}
		case serval.Int64:
			return map[string]any{"int": strconv.FormatInt(int64(leUint(v.Data[8*i:])), 10)}
		}
		return map[string]any{"int": strconv.FormatInt(int64(v.DType.Numbers()(v.Data, i)), 10)}
	}
	for row := range out {
		var list []any
		for k := range each {
			list = append(list, one(row*each+k))
		}
		switch {
		case v.Null != nil && v.Null[row]:
		case v.Shape != nil:
			out[row] = list
		default:
			out[row] = list[0]
		}
	}
	return out
}

func leUint(b []byte) uint64 {
	v := uint64(0)
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// Compare fails the test where columns differ. A list as JSON equals the list.
func Compare(t testing.TB, name string, got, want map[string][]any) {
	t.Helper()
	for c, values := range want {
		if len(got[c]) != len(values) {
			t.Errorf("%s: column '%s' has %d rows of %d", name, c, len(got[c]), len(values))
			continue
		}
		for row := range values {
			if !same(got[c][row], values[row]) {
				t.Errorf("%s: column '%s', row %d: %v (%[4]T), expected %v (%[5]T)", name, c, row+1, got[c][row], values[row])
				break
			}
		}
	}
	for c := range got {
		if want[c] == nil {
			t.Errorf("%s: a column '%s' that should not be", name, c)
		}
	}
}

func same(got, want any) bool {
	switch want := want.(type) {
	case []any:
		if text, ok := got.(string); ok {
			var list []any
			if json.Unmarshal([]byte(text), &list) != nil {
				return false
			}
			got = list
		}
		list, ok := got.([]any)
		return ok && slices.EqualFunc(list, want, same)
	case map[string]any:
		g, ok := got.(map[string]any)
		if f, is := got.(float64); is {
			return strconv.FormatFloat(f, 'f', -1, 64) == want["int"]
		}
		return ok && g["int"] == want["int"]
	case float64:
		g, ok := got.(float64)
		return ok && (g == want || math.IsNaN(g) && math.IsNaN(want))
	}
	return got == want
}
