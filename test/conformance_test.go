package test

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"serval"
	"serval/internal/testkit"
	"serval/native"
	"serval/wire/inference"
)

var update = flag.Bool("update", false, "write python/onnx/excluded.txt anew")

// studied is one model of the ONNX project's test data and what ONNX Runtime itself makes of it; python/onnx/reference.py
// writes it down.
type studied struct {
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`
	Refused string    `json:"refused"` // why ONNX Runtime does not load it
	Locale  bool      `json:"locale"`  // loads where the machine has the locale en_US.UTF-8
	Inputs  []argued  `json:"inputs"`
	Outputs []argued  `json:"outputs"`
	Sets    []dataSet `json:"sets"`
}

// argued is an input or output as ONNX Runtime declares it.
type argued struct {
	Name     string  `json:"name"`
	Type     string  `json:"type"`     // "tensor(float)"
	Datatype string  `json:"datatype"` // "" where the Open Inference Protocol has no name
	Shape    []int64 `json:"shape"`    // empty for a scalar, and where the model leaves the rank open
	Optional bool    `json:"optional"`
}

type dataSet struct {
	Inputs  []placed `json:"inputs"`
	Outputs []placed `json:"outputs"`
	Error   string   `json:"error"`  // why ONNX Runtime does not run it
	Ragged  []string `json:"ragged"` // outputs that are sequences of tensors of different shapes
	Random  bool     `json:"random"` // ONNX Runtime's own answers differ from one another
}

// answered says whether ONNX Runtime has one answer.
func (s *dataSet) answered() bool { return s.Error == "" && len(s.Ragged) == 0 && !s.Random }

// placed is a tensor whose bytes stand in data.bin.
type placed struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
	At       int     `json:"at"`
	Size     int     `json:"size"`
}

// uncarried is the first input or output that the protocol has no form for. Sequences of tensors come out stacked.
func (c *studied) uncarried() *argued {
	for i := range c.Inputs {
		if a := &c.Inputs[i]; a.Datatype == "" || !strings.HasPrefix(a.Type, "tensor(") {
			return a
		}
	}
	for i := range c.Outputs {
		if a := &c.Outputs[i]; a.Datatype == "" {
			return a
		}
	}
	return nil
}

// twice is the name that two outputs share; "" if none do.
func (c *studied) twice() string {
	seen := map[string]bool{}
	for _, o := range c.Outputs {
		if seen[o.Name] {
			return o.Name
		}
		seen[o.Name] = true
	}
	return ""
}

// reference reads what reference.py left.
func reference(t *testing.T, dir string) ([]studied, []byte) {
	t.Helper()
	var versions map[string]string
	raw, err := os.ReadFile(filepath.Join(dir, "versions.json"))
	if err == nil {
		err = json.Unmarshal(raw, &versions)
	}
	if err != nil {
		t.Fatal(err)
	}
	if served := native.Manifest()[0].Package.Version; versions["onnxruntime"] != served {
		t.Fatalf("python/onnx.txt has ONNX Runtime %s, native/manifest.go %s; let them be the same", versions["onnxruntime"], served)
	}
	data, err := os.ReadFile(filepath.Join(dir, "data.bin"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dir, "cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var cases []studied
	lines := bufio.NewScanner(file)
	for lines.Buffer(nil, 16<<20); lines.Scan(); {
		var c studied
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return cases, data
}

// TestONNXConformance serves every model of the ONNX project's test data, and some more, and wants of each either ONNX
// Runtime's own answer, bit for bit, over REST with binary data and with JSON and over gRPC, or a refusal that says why.
// What is refused stands with its reason in python/onnx/excluded.txt.
func TestONNXConformance(t *testing.T) {
	t.Parallel()
	dir := cache(t, "onnx")
	cases, data := reference(t, dir)
	// The build that users get: its calls into C differ from the race detector's build.
	s := testkit.Serve(t, testkit.Options{Models: filepath.Join(dir, "models"), Unset: true})
	for end := time.Now().Add(10 * time.Minute); !strings.Contains(s.Log(), "not ready: some models failed"); time.Sleep(100 * time.Millisecond) {
		if s.Cmd.Process.Signal(syscall.Signal(0)) != nil || time.Now().After(end) {
			t.Fatal("the server ended, or still loads models after ten minutes")
		}
	}
	states := index(t, s)
	c := rpc(t, s)
	e := &exam{t: t, s: s, rpc: c, data: data, doors: []door{&restBinary{t, s}, &restJSON{t, s}, &overGRPC{t, c}}, found: verdicts{excluded: map[string]map[string][]string{}}}
	for i := range cases {
		c := &cases[i]
		m, ok := states[c.Name+" 1"]
		if !ok {
			m = states[c.Name]
		}
		if err := e.judge(c, m.State, m.Reason); err != nil {
			t.Errorf("%s %s: %v", c.Kind, c.Name, err)
		}
	}
	if runtime.GOARCH == "amd64" { // others have other kernels
		golden(t, filepath.Join("python", "onnx", "excluded.txt"), e.found.String())
	}
}

// exam takes the cases one by one.
type exam struct {
	t     *testing.T
	s     *testkit.Server
	rpc   inference.GRPCInferenceServiceClient
	data  []byte
	doors []door
	found verdicts
}

// judge compares what became of one model with what ONNX Runtime makes of it.
func (e *exam) judge(c *studied, state, reason string) error {
	refuse := func(section, why string, words ...string) error {
		e.found.exclude(section, why, c.Name)
		if state != "UNAVAILABLE" {
			return fmt.Errorf("is %s, and should not be: %s", state, why)
		}
		for _, w := range words {
			if !strings.Contains(reason, w) {
				return fmt.Errorf("is refused without the word %q: %s", w, reason)
			}
		}
		return nil
	}
	bad := c.uncarried()
	switch {
	case strings.Contains(c.Refused, "dies of"):
		return refuse(ortDies, c.Refused, "killed the probe child")
	case c.Refused != "" && c.Locale:
		return refuse(noLocale, "", "en_US.UTF-8")
	case c.Refused != "":
		if _, words, ok := strings.Cut(reason, "ONNX Runtime cannot load it: "); !ok || !strings.Contains(c.Refused, comparable(words)) {
			return fmt.Errorf("is refused with other words: %s\nONNX Runtime says: %s", reason, c.Refused)
		}
		return refuse(ortRefuses, brief(c.Refused))
	case bad != nil:
		kind, element := kindOf(bad.Type)
		return refuse(noForm, bad.Type, "put '"+bad.Name+"'", kind, element)
	case c.twice() != "":
		return refuse(noForm, "two outputs of one name", "two outputs have the name '"+c.twice()+"'")
	case slices.ContainsFunc(c.Inputs, func(a argued) bool { return a.Name == "" }):
		return refuse(noForm, "an input without a name", "input 0 has no name")
	case state != "READY":
		return fmt.Errorf("is %s, and ONNX Runtime loads it: %s", state, reason)
	case c.Locale:
		e.found.exclude(noLocale, "", c.Name)
	default:
		e.found.models++
	}
	return errors.Join(e.metadata(c), e.ask(c))
}

// metadata wants a model to be shown as ONNX Runtime declares it.
func (e *exam) metadata(c *studied) error {
	a := ask(e.t, "GET", e.s.URL("/v2/models/"+url.PathEscape(c.Name)), "")
	var m struct{ Inputs, Outputs []spoken }
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.code != http.StatusOK {
		return fmt.Errorf("metadata: status %d: %s", a.code, a.body)
	}
	side := func(what string, got []spoken, want []argued) error {
		if len(got) != len(want) {
			return fmt.Errorf("metadata: %d %ss, ONNX Runtime has %d", len(got), what, len(want))
		}
		for i := range got {
			g, w := &got[i], &want[i]
			if g.Name != w.Name || g.Datatype != w.Datatype || strings.HasPrefix(w.Type, "tensor(") && len(w.Shape) > 0 && !slices.Equal(g.Shape, w.Shape) {
				return fmt.Errorf("metadata: %s %d is %+v, ONNX Runtime has %+v", what, i, *g, *w)
			}
		}
		return nil
	}
	r, err := e.rpc.ModelMetadata(e.t.Context(), &inference.ModelMetadataRequest{Name: c.Name})
	if err != nil {
		return fmt.Errorf("metadata over gRPC: %w", err)
	}
	return errors.Join(side("input", m.Inputs, c.Inputs), side("output", m.Outputs, c.Outputs),
		side("input", fromGRPC(r.Inputs), c.Inputs), side("output", fromGRPC(r.Outputs), c.Outputs))
}

func fromGRPC(list []*inference.ModelMetadataResponse_TensorMetadata) []spoken {
	out := make([]spoken, len(list))
	for i, t := range list {
		out[i] = spoken{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape}
	}
	return out
}

// kindOf is what a refusal must say of a type: "seq(tensor(float))" is a sequence.
func kindOf(t string) (kind, element string) {
	if inner, ok := strings.CutPrefix(t, "tensor("); ok {
		return "elements of type", strings.TrimSuffix(inner, ")")
	}
	switch t[:3] {
	case "seq":
		return "is a sequence", ""
	case "opt":
		return "is an optional type", ""
	}
	return "cannot be served", ""
}

// ask sends a model its data sets by every door, by the last several times at once.
func (e *exam) ask(c *studied) error {
	var failed []error
	for k := range c.Sets {
		set := &c.Sets[k]
		in := e.tensors(set.Inputs)
		for i, d := range e.doors {
			times := 1
			if i == len(e.doors)-1 && c.Kind != "light" { // eight of VGG would wait for too long
				times = 8
			}
			answers, err := together(d, times, c.Name, in)
			if errors.Is(err, errNoForm) {
				continue
			}
			if err = e.mark(set, answers, err); err != nil {
				failed = append(failed, fmt.Errorf("data set %d by %s: %w", k, d.name(), err))
			} else if set.answered() && !c.Locale {
				e.found.answers[i]++
			}
		}
		switch {
		case c.Locale:
		case set.Error != "":
			e.found.exclude(ortFails, brief(set.Error), c.Name)
		case len(set.Ragged) > 0:
			e.found.exclude(ragged, "", c.Name)
		case set.Random:
			e.found.exclude(random, "", c.Name)
		}
	}
	return errors.Join(failed...)
}

// mark compares the answers to one data set, or the refusal, with ONNX Runtime's.
func (e *exam) mark(set *dataSet, answers [][]serval.Tensor, err error) error {
	switch {
	case set.Error != "":
		return wantRefusal(err, set.Error)
	case len(set.Ragged) > 0:
		if err == nil || !strings.Contains(err.Error(), "'"+set.Ragged[0]+"' is a sequence of tensors of different shapes") {
			return fmt.Errorf("is not refused for its shapes: %w", err)
		}
		return nil
	case err != nil:
		return err
	}
	for _, out := range answers {
		if err := e.compare(out, set); err != nil {
			return err
		}
	}
	return nil
}

// wantRefusal wants an answer to be a refusal in ONNX Runtime's own words.
func wantRefusal(err error, said string) error {
	if err == nil {
		return fmt.Errorf("is answered, and ONNX Runtime refuses: %s", said)
	}
	_, words, ok := strings.Cut(err.Error(), "cannot compute these inputs: ")
	if !ok || !strings.Contains(said, comparable(words)) {
		return fmt.Errorf("is refused with other words: %w\nONNX Runtime says: %s", err, said)
	}
	return nil
}

func (e *exam) tensors(list []placed) []serval.Tensor {
	tensors := make([]serval.Tensor, len(list))
	for i, p := range list {
		d, ok := serval.ParseDType(p.Datatype)
		if !ok {
			e.t.Fatalf("cases.jsonl: datatype %q", p.Datatype)
		}
		tensors[i] = serval.Tensor{Name: p.Name, DType: d, Shape: p.Shape, Data: e.data[p.At : p.At+p.Size]}
	}
	return tensors
}

// compare wants an answer to be ONNX Runtime's own.
func (e *exam) compare(got []serval.Tensor, set *dataSet) error {
	want := e.tensors(set.Outputs)
	if len(got) != len(want) {
		return fmt.Errorf("%d outputs, ONNX Runtime gives %d", len(got), len(want))
	}
	for i := range got {
		g, w := &got[i], &want[i]
		if g.Name != w.Name || g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) {
			return fmt.Errorf("output %d is '%s' %s %s, ONNX Runtime's '%s' %s %s", i, g.Name, g.DType, serval.ShapeString(g.Shape), w.Name, w.DType, serval.ShapeString(w.Shape))
		}
		if set.Random && len(g.Data) == len(w.Data) {
			continue
		}
		if at := differs(g, w); at >= 0 {
			return fmt.Errorf("output '%s' %s %s differs at byte %d: % x, ONNX Runtime has % x", g.Name, g.DType, serval.ShapeString(g.Shape), at, around(g.Data, at), around(w.Data, at))
		}
	}
	return nil
}

func around(data []byte, at int) []byte { return data[min(at, len(data)):min(at+16, len(data))] }

// sourceFile is a file of ONNX Runtime's build machine, or the model's, with its folder.
var sourceFile = regexp.MustCompile(`/\S*/([\w-]+\.(?:cc|h|onnx))`)

// comparable is what Serval says, as reference.py writes down what ONNX Runtime said.
func comparable(text string) string {
	return strings.Join(strings.Fields(sourceFile.ReplaceAllString(text, "$1")), " ")
}

// brief is the part of ONNX Runtime's words that groups models: what is wrong, without codes, places and the node's name.
func brief(text string) string {
	for _, before := range []string{"[ONNXRuntimeError] : ", " : ", " : ", "failed:", "initialization: ", "Status Message: ", " was false. "} {
		if _, after, ok := strings.Cut(text, before); ok {
			text = after
		}
	}
	if i := strings.LastIndex(text, ") "); i >= 0 && strings.Contains(text, "onnxruntime::") {
		text = text[i+2:]
	}
	for _, end := range []string{" with node name", " (node:", " Encountered", " Please", " If you need"} {
		text, _, _ = strings.Cut(text, end)
	}
	return text
}

// The sections of excluded.txt.
const (
	noForm     = "The Open Inference Protocol has no form for an input or output: Serval refuses to load the model"
	ortRefuses = "ONNX Runtime refuses to load the model, and Serval with its words"
	ortDies    = "ONNX Runtime dies of the model: Serval's probe child does, and Serval says so"
	noLocale   = "Compared only where the machine has the locale en_US.UTF-8; ONNX Runtime refuses to load the model elsewhere"
	ortFails   = "ONNX Runtime refuses the data set, and Serval with its words"
	random     = "ONNX Runtime's answers differ from one another: only names, types and shapes are compared"
	ragged     = "The answer is a sequence of tensors of different shapes, which Serval refuses for such a data set"
)

var sections = []string{noForm, ortRefuses, ortDies, noLocale, ortFails, random, ragged}

// verdicts are the counts and the list of what has no answer.
type verdicts struct {
	models   int
	answers  [3]int                         // data sets with ONNX Runtime's answer, by door
	excluded map[string]map[string][]string // section → reason → models
}

func (v *verdicts) exclude(section, why, name string) {
	if v.excluded[section] == nil {
		v.excluded[section] = map[string][]string{}
	}
	if list := v.excluded[section][why]; !slices.Contains(list, name) {
		v.excluded[section][why] = append(list, name)
	}
}

// String is excluded.txt.
func (v *verdicts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "What became of the ONNX project's test data and of odd.py: written by go test ./test -run ONNXConformance -update\n\n")
	fmt.Fprintf(&b, "%d models load. Data sets that are answered as ONNX Runtime answers them: %d over REST with binary data, %d with JSON\n", v.models, v.answers[0], v.answers[1])
	fmt.Fprintf(&b, "(which has no FP16 and BF16), %d over gRPC. The others, by reason:\n", v.answers[2])
	for _, section := range sections {
		reasons := v.excluded[section]
		n := 0
		for _, list := range reasons {
			n += len(list)
		}
		fmt.Fprintf(&b, "\n# %s (%d)\n", section, n)
		for _, why := range slices.Sorted(maps.Keys(reasons)) {
			slices.Sort(reasons[why])
			if why != "" {
				fmt.Fprintf(&b, "%s (%d)\n", why, len(reasons[why]))
			}
			for _, name := range reasons[why] {
				fmt.Fprintf(&b, "    %s\n", name)
			}
		}
	}
	return b.String()
}

// golden compares text with a file's, or writes it with -update.
func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(text, "\n"), strings.Split(string(want), "\n")
	for _, line := range a {
		if !slices.Contains(b, line) {
			t.Errorf("new, and not in %s: %s", file, line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			t.Errorf("in %s, and gone: %s", file, line)
		}
	}
	if !t.Failed() && text != string(want) {
		t.Errorf("%s has its lines in another order; -update writes it", file)
	}
}
