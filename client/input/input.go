package input

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"serval"
)

// Model is what must be known of a model to read a file for it.
type Model struct {
	Signature serval.Signature
	Recipe    *serval.Recipe // may be nil
}

// Input is what a file holds: the tensors of one request, or of a sequence of them. The caller owns it.
type Input struct {
	Tensors []serval.Tensor
	// Sequence says that each row is a request of its own, and all of them one sequence: the first one starts it, the last one
	// ends it.
	Sequence bool
	Length   time.Duration // of a sound; else 0
	Want     []string      // the outputs that an Open Inference Protocol body asks for; nil: all
	Extra    []Column      // columns of a CSV file that no input takes: ids and notes, to be shown beside the answer
	Ignored  []string      // fields of a JSON file that were left unused
}

// Column is a named column of texts, one a row.
type Column struct {
	Name  string
	Texts []string
}

// ReadFile reads a file of any supported kind. Errors are InvalidArgument (NotFound for a missing file) and name the file,
// and the line or element and the column or input where one is at fault.
func ReadFile(path string, m Model) (*Input, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		code := serval.InvalidArgument
		if os.IsNotExist(err) {
			code = serval.NotFound
		}
		return nil, serval.Errorf(code, "%w", err)
	}
	return Read(path, data, m)
}

// Read is ReadFile for data already in memory. The name's ending says what kind of file it is; where the ending is not
// known, the content does.
func Read(name string, data []byte, m Model) (*Input, error) {
	in, err := read(name, data, m)
	if err != nil {
		e := serval.Errorf(serval.InvalidArgument, "%s%w", filepath.Base(name), located{err})
		if at, ok := err.(*fault); ok {
			e.Param = at.param
		}
		return nil, e
	}
	return in, nil
}

func read(name string, data []byte, m Model) (*Input, error) {
	if m.Recipe != nil && m.Recipe.Input.Bytes != nil {
		return readWindow(data, m.Recipe.Input.Bytes, m)
	}
	switch kind(name, data) {
	case "csv":
		return readCSV(data, 0, m)
	case "tsv":
		return readCSV(data, '\t', m)
	case "json":
		return readJSON(data, m)
	case "npy":
		return readNPY(data, m)
	case "npz":
		return readNPZ(data, m)
	case "image":
		if m.Recipe == nil || m.Recipe.Input.Image == nil {
			return nil, fmt.Errorf("a picture, but the model's model.yaml has no recipe.input.image that says how to lay it out; add one, or give the tensor as .npy")
		}
		return readImage(data, m.Recipe.Input.Image, m)
	case "audio":
		if m.Recipe == nil || m.Recipe.Input.Audio == nil {
			return nil, fmt.Errorf("a sound, but the model's model.yaml has no recipe.input.audio that says how to lay it out; add one, or give the tensor as .npy")
		}
		return readAudio(data, m.Recipe.Input.Audio, m)
	}
	return nil, fmt.Errorf("not a kind of file that is known; use .csv, .tsv, .json, .npy, .npz, .png, .jpg, .gif or .wav")
}

// kind goes by the ending, else by the first bytes.
func kind(name string, data []byte) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return "csv"
	case ".tsv", ".tab":
		return "tsv"
	case ".json":
		return "json"
	case ".npy":
		return "npy"
	case ".npz":
		return "npz"
	case ".png", ".jpg", ".jpeg", ".gif":
		return "image"
	case ".wav", ".wave":
		return "audio"
	}
	text := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case bytes.HasPrefix(data, []byte(npyMagic)):
		return "npy"
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return "npz"
	case bytes.HasPrefix(data, []byte("\x89PNG")), bytes.HasPrefix(data, []byte("\xff\xd8\xff")), bytes.HasPrefix(data, []byte("GIF8")):
		return "image"
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WAVE":
		return "audio"
	case len(text) > 0 && (text[0] == '{' || text[0] == '['):
		return "json"
	case len(text) > 0 && !bytes.ContainsRune(text, 0) && bytes.ContainsAny(text, ",;\n"):
		return "csv"
	}
	return ""
}

// fault is an error that knows its place in the file and the input or column at fault.
type fault struct {
	place string // ", line 3, column 'age'"
	param string
	err   error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// located writes an error as what follows the file's name.
type located struct{ err error }

func (l located) Error() string {
	if f, ok := l.err.(*fault); ok {
		return f.place + ": " + f.err.Error()
	}
	return ": " + l.err.Error()
}

func (l located) Unwrap() error { return l.err }

func atInput(name string, err error) error {
	return &fault{place: fmt.Sprintf(", input '%s'", name), param: name, err: err}
}

// info finds the input that a recipe or a file names.
func (m *Model) info(name string) (*serval.TensorInfo, error) {
	if i := m.Signature.Input(name); i >= 0 {
		return &m.Signature.Inputs[i], nil
	}
	return nil, &fault{param: name, err: fmt.Errorf("the model has no input '%s'; its inputs are %s", name, m.inputNames())}
}

func (m *Model) inputNames() string {
	names := make([]string, len(m.Signature.Inputs))
	for i := range m.Signature.Inputs {
		names[i] = "'" + m.Signature.Inputs[i].Name + "'"
	}
	return strings.Join(names, ", ")
}

// required reports the first input that is neither given nor optional.
func (m *Model) required(given []serval.Tensor) error {
	t := serval.Tensors{List: given}
	for i := range m.Signature.Inputs {
		in := &m.Signature.Inputs[i]
		if !in.Optional && t.Find(in.Name) == nil {
			return &fault{param: in.Name, err: fmt.Errorf("nothing for the input '%s' (%s %s)", in.Name, in.DType, serval.ShapeString(in.Shape))}
		}
	}
	return nil
}

// fit makes a shape match what the model declares: as it is, or with a 1 put before it (one row) or behind it (one value a
// row).
func fit(shape []int64, want *serval.TensorInfo) ([]int64, error) {
	one := []int64{1}
	for _, s := range [][]int64{shape, append(one, shape...), append(append([]int64{}, shape...), 1)} {
		if matches(s, want) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("shape %s, where the model takes %s", serval.ShapeString(shape), serval.ShapeString(want.Shape))
}

func matches(shape []int64, want *serval.TensorInfo) bool {
	if want.Shape == nil {
		return true
	}
	if len(shape) != len(want.Shape) {
		return false
	}
	for i, d := range want.Shape {
		if d >= 0 && d != shape[i] {
			return false
		}
	}
	return true
}
