package triton

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"

	"serval"
	"serval/wire/inference"
)

// FileName is what Triton calls the configuration in a model's folder.
const FileName = "config.pbtxt"

// maxFile is the largest configuration that is read, in bytes.
const maxFile = 1 << 20

// ReadText reads a config.pbtxt. Its error is file:line:col: field: reason; a field that is not known or is given twice is
// one.
func ReadText(data []byte, file string) (*inference.ModelConfig, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s:1:1: the file has %d bytes; at most %d are read", file, len(data), maxFile)
	}
	c := &inference.ModelConfig{}
	if err := prototext.Unmarshal(data, c); err != nil {
		return nil, located(data, file, err)
	}
	return c, nil
}

// The words of prototext's errors: where, what, and which field.
var (
	textError = regexp.MustCompile(`^proto:\s(?:syntax error\s)?\(line (\d+:\d+)\): (?s:(.*))$`)
	unknown   = regexp.MustCompile(`^unknown (?:map entry )?field:? "?([^"]+?)"?$`)
	repeated  = regexp.MustCompile(`^(?:non-repeated field|map entry) "([^"]+)" (?:is repeated|cannot be repeated)$`)
	oneof     = regexp.MustCompile(`^error parsing "([^"]+)", oneof (\S+) is already set$`)
	lastField = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_]*)\s*:?[^:A-Za-z_{}]*$`)
)

// located turns an error of prototext into one that names the file, the place, the field and what to do.
func located(data []byte, file string, err error) error {
	m := textError.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\u00a0", " "))
	if m == nil { // the end of the file in the middle of something
		line := strings.Count(string(data), "\n") + 1
		return fmt.Errorf("%s:%d:1: the file ends too early: a bracket, a quote or a value is missing", file, line)
	}
	at, reason := m[1], m[2]
	field := ""
	switch {
	case unknown.MatchString(reason):
		field, reason = unknown.FindStringSubmatch(reason)[1], "unknown field; Triton's model configuration has none of that name here: correct or remove it"
	case repeated.MatchString(reason):
		field, reason = repeated.FindStringSubmatch(reason)[1], "is given twice; keep one"
	case oneof.MatchString(reason):
		name := oneof.FindStringSubmatch(reason)
		field, reason = name[1], "is given beside another choice of "+name[2][strings.LastIndexByte(name[2], '.')+1:]+"; keep one"
	default:
		field = fieldBefore(data, at)
	}
	if field != "" {
		field += ": "
	}
	return fmt.Errorf("%s:%s: %s%s", file, at, field, reason)
}

// fieldBefore is the name of the field whose value stands at line:col; "" where that cannot be told.
func fieldBefore(data []byte, at string) string {
	var line, col int
	if _, err := fmt.Sscanf(at, "%d:%d", &line, &col); err != nil {
		return ""
	}
	lines := strings.SplitAfter(string(data), "\n")
	if line > len(lines) {
		return ""
	}
	text := []rune(lines[line-1])
	before := strings.Join(lines[max(0, line-3):line-1], "") + string(text[:min(max(col-1, 0), len(text))])
	if m := lastField.FindStringSubmatch(before); m != nil {
		return m[1]
	}
	return ""
}

// ReadJSON reads a configuration as JSON, as load requests bring it. The error is an InvalidArgument.
func ReadJSON(text string) (*inference.ModelConfig, error) {
	bad := func(format string, args ...any) error {
		return serval.Errorf(serval.InvalidArgument, "parameter 'config' "+format, args...).At("config")
	}
	if len(text) > maxFile {
		return nil, bad("has %d bytes; at most %d are read", len(text), maxFile)
	}
	var fields map[string]json.RawMessage // its errors are clearer, and it knows how deep is too deep
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return nil, bad("is not a JSON object: %v", err)
	}
	if fields == nil {
		return nil, bad("is not a JSON object: it is null")
	}
	c := &inference.ModelConfig{}
	if err := protojson.Unmarshal([]byte(text), c); err != nil {
		return nil, bad("is not a model configuration: %s", strings.ReplaceAll(err.Error(), "\u00a0", " "))
	}
	return c, nil
}
