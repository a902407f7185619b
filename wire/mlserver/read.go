package mlserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// FileName is what MLServer calls the file in a model's folder.
const FileName = "model-settings.json"

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// Config is a model-settings.json.
type Config struct {
	Name           string     `json:"name"`
	Implementation string     `json:"implementation"`
	Platform       string     `json:"platform"`
	Versions       []string   `json:"versions"`
	Inputs         []Tensor   `json:"inputs"`
	Outputs        []Tensor   `json:"outputs"`
	Workers        *int       `json:"parallel_workers"`
	WarmWorkers    bool       `json:"warm_workers"`
	MaxBatchSize   int        `json:"max_batch_size"`
	MaxBatchTime   float64    `json:"max_batch_time"` // seconds
	CacheEnabled   bool       `json:"cache_enabled"`
	Parameters     Parameters `json:"parameters"`

	unknown []string // keys that MLServer ignores
}

// Tensor describes an input or an output; MLServer shows it and holds nobody to it.
type Tensor struct {
	Name       string         `json:"name"`
	Datatype   string         `json:"datatype"`
	Shape      []int64        `json:"shape"`
	Parameters map[string]any `json:"parameters"`
}

// Parameters are those of one version.
type Parameters struct {
	URI                string         `json:"uri"`
	Version            string         `json:"version"`
	Format             string         `json:"format"`
	ContentType        string         `json:"content_type"`
	EnvironmentPath    string         `json:"environment_path"`
	EnvironmentTarball string         `json:"environment_tarball"`
	PoolGID            string         `json:"inference_pool_gid"`
	AutoPoolGID        bool           `json:"autogenerate_inference_pool_gid"`
	Extra              map[string]any `json:"extra"`
}

// Read reads a model-settings.json. Its error is file:line:col: field: reason.
func Read(data []byte, file string) (*Config, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s:1:1: the file has %d bytes; at most %d are read", file, len(data), maxFile)
	}
	c := &Config{}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(c); err != nil {
		return nil, located(data, file, d.InputOffset(), err)
	}
	if _, err := d.Token(); err != io.EOF {
		line, col := place(data, d.InputOffset())
		return nil, fmt.Errorf("%s:%d:%d: something stands behind the object; remove it", file, line, col)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil || all == nil {
		return nil, fmt.Errorf("%s:1:1: must be an object { … }", file)
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(known, key) {
			c.unknown = append(c.unknown, key)
		}
	}
	return c, nil
}

var known = []string{"name", "implementation", "platform", "versions", "inputs", "outputs", "parallel_workers", "warm_workers",
	"max_batch_size", "max_batch_time", "cache_enabled", "parameters"}

// located adds the place to an error of the JSON decoder.
func located(data []byte, file string, at int64, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	field, reason := "", strings.TrimPrefix(err.Error(), "json: ")
	switch {
	case errors.As(err, &syntax):
		at, reason = syntax.Offset-1, "not valid JSON: "+reason
	case errors.As(err, &kind):
		at, field, reason = kind.Offset-1, kind.Field, fmt.Sprintf("cannot be a %s", kind.Value)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		at, reason = int64(len(data)), "the file ends too early"
	}
	if field != "" {
		field += ": "
	}
	line, col := place(data, at)
	return fmt.Errorf("%s:%d:%d: %s%s", file, line, col, field, reason)
}

// place is the line and the column of a byte.
func place(data []byte, at int64) (line, col int) {
	before := data[:min(max(at, 0), int64(len(data)))]
	return bytes.Count(before, []byte("\n")) + 1, len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:]))) + 1
}
