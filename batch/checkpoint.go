package batch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"serval"
)

// checkpoint is what a job has done so far. Its file is replaced whole, so that there is an old one or a new one, never half.
type checkpoint struct {
	Serval int      `json:"serval"` // of the file's form
	Job    identity `json:"job"`
	Rows   int      `json:"rows_a_block"`
	Input  int      `json:"input"` // which object is read
	Reader Mark     `json:"reader,omitempty"`
	Writer Mark     `json:"writer,omitempty"` // none: nothing is written
	Errors int64    `json:"errors"`           // bytes of the side file
	Count  counts   `json:"count"`
	// Kept are the columns of the first object that are kept beside the answers.
	Kept []Column `json:"kept"`
	// Columns are those of the output.
	Columns []Column `json:"columns,omitempty"`
	// Complete says that the output is whole and is only to be published.
	Complete bool `json:"complete,omitempty"`
}

// counts are those of a Progress.
type counts struct {
	Rows  int64        `json:"rows"`
	Bad   int64        `json:"bad"`
	Usage serval.Usage `json:"usage"`
}

const checkpointForm = 1

// identity tells one job from another: what the output depends on.
type identity struct {
	Model         string              `json:"model"`
	Version       string              `json:"version"`
	Digest        string              `json:"digest,omitempty"`
	Inputs        []printed           `json:"inputs"`
	InputFormat   string              `json:"input_format"`
	InputOptions  map[string]string   `json:"input_options,omitempty"`
	OutputFormat  string              `json:"output_format"`
	OutputOptions map[string]string   `json:"output_options,omitempty"`
	Output        string              `json:"output"`
	Map           map[string][]string `json:"map,omitempty"`
	Passthrough   []string            `json:"passthrough"`
	Want          []string            `json:"want,omitempty"`
	Text          *Text               `json:"text,omitempty"`
	Limit         int64               `json:"limit,omitempty"`
	From          string              `json:"from,omitempty"`
}

// printed is an object, as far as its content can be told from outside.
type printed struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Size    int64  `json:"size"`
}

func identityOf(o *Options, in, out string) identity {
	j := &o.Job
	p := identity{
		Model: o.Model.Name, Version: o.Model.Version, Digest: o.Digest, InputFormat: in, InputOptions: j.InputOptions, OutputFormat: out,
		OutputOptions: j.OutputOptions, Output: o.Target.Name(), Map: j.Map, Passthrough: j.Passthrough, Want: j.Want, Text: j.Text, Limit: j.Limit,
		From: string(o.From),
	}
	for _, obj := range o.Inputs {
		p.Inputs = append(p.Inputs, printed{obj.Name(), obj.Version(), obj.Size()})
	}
	return p
}

// differs says what another job's identity has otherwise; "" for nothing.
func (p *identity) differs(now *identity) string {
	switch {
	case p.Model != now.Model || p.Version != now.Version:
		return fmt.Sprintf("it was begun with model %s version %s, and now it is %s version %s", p.Model, p.Version, now.Model, now.Version)
	case p.Digest != now.Digest:
		return fmt.Sprintf("the files of model %s version %s have changed", p.Model, p.Version)
	case len(p.Inputs) != len(now.Inputs):
		return fmt.Sprintf("it was begun with %d input objects, and now there are %d", len(p.Inputs), len(now.Inputs))
	}
	for i := range p.Inputs {
		switch a, b := p.Inputs[i], now.Inputs[i]; {
		case a.Name != b.Name:
			return fmt.Sprintf("input %d was %s, and now it is %s", i+1, a.Name, b.Name)
		case a != b:
			return fmt.Sprintf("%s has changed", a.Name)
		}
	}
	a, b := p.json(), now.json()
	for _, name := range []string{"input_format", "input_options", "output_format", "output_options", "output", "map", "passthrough", "want", "text", "limit", "from"} {
		if string(a[name]) != string(b[name]) {
			return fmt.Sprintf("%s was %s, and now it is %s", name, orNone(a[name]), orNone(b[name]))
		}
	}
	return ""
}

func (p *identity) json() map[string]json.RawMessage {
	raw, _ := json.Marshal(p) // plain data
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	return fields
}

func orNone(v json.RawMessage) string {
	if v == nil || string(v) == "null" {
		return "not given"
	}
	return string(v)
}

// places are a job's files while it is under way.
type places struct{ part, errors, checkpoint, lock string }

func placesOf(o *Options) (places, error) {
	base := o.Target.Path()
	switch {
	case o.Dir != "":
		sum := sha256.Sum256([]byte(o.Target.Name()))
		base = filepath.Join(o.Dir, hex.EncodeToString(sum[:6])+"-"+filepath.Base(o.Target.Name()))
	case base == "":
		return places{}, serval.Errorf(serval.InvalidArgument, "%s: a folder on this machine is needed for the unfinished output", o.Target.Name()).At("dir")
	}
	return places{part: base + ".part", errors: base + ErrorsSuffix + ".part", checkpoint: base + ".checkpoint", lock: base + ".lock"}, nil
}

// readCheckpoint reads the file; nil if there is none.
func readCheckpoint(path string) (*checkpoint, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	c := &checkpoint{}
	if err := json.Unmarshal(raw, c); err != nil || c.Serval != checkpointForm || c.Rows < 1 || c.Input < 0 || c.Errors < 0 || c.Input > len(c.Job.Inputs) {
		return nil, serval.Errorf(serval.InvalidArgument, "%s is no checkpoint that this version reads; start the job anew with --restart", path).At("restart")
	}
	return c, nil
}

// save replaces the file and brings it to the disk.
func (c *checkpoint) save(path string) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	next := path + ".new"
	f, err := os.Create(next)
	if err != nil {
		return diskError(next, err)
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return diskError(next, err)
	}
	return syncFolder(filepath.Dir(path))
}

// remove takes files away; those that are not there, too.
func remove(paths ...string) error {
	var failed []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
