package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/batch/parquet"
	"serval/internal/column/columntest"
	"serval/internal/testkit"
	"serval/stream"
	"serval/stream/streamtest"
	"serval/stream/streamtest/feed"
)

// made is when the first message of a test was made; each further one a minute later.
func made(n int) time.Time {
	return time.Date(2026, 11, 27, 22, 30, 0, 5e6, time.UTC).Add(time.Duration(n) * time.Minute)
}

func message(lane *stream.Lane, n int, value string) *stream.Message {
	return &stream.Message{
		Key: fmt.Appendf(nil, "k%d", n), Value: []byte(value), Lane: lane, Time: made(n), Position: stream.Position{Topic: "t", Partition: 3, Offset: int64(100 + n)},
		Headers: []stream.Header{{Key: "serval-model", Value: []byte("m")}, {Key: "raw", Value: []byte{0xff}}, {Key: "raw", Value: []byte("2")}},
	}
}

func open(t *testing.T, change func(*TargetOptions)) *target {
	t.Helper()
	o := defaults()
	change(o)
	to, err := Broker{}.Target(t.Context(), o, stream.Env{Stream: "s/1", Instance: "i", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := to.Close(); err != nil {
			t.Error(err)
		}
	})
	return to.(*target)
}

func below(t *testing.T, root string) (names []string) {
	t.Helper()
	for _, name := range tree(t, root) {
		short, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, short)
	}
	return names
}

// Values of every kind become columns, which pyarrow reads as one data set over all files and folders.
func TestParquet(t *testing.T) {
	root := t.TempDir()
	to := open(t, func(o *TargetOptions) { o.Path = root + "/date={date}/hour={hour}/" })
	lane := stream.NewLane("t/3", nil)
	values := []string{
		`{"applicant":1,"yes":true,"name":"a \"\u00e9\"","prediction":{"score":0.5,"applicant":7,"both":[1,2.5]},"mixed":1,"object":{"a":[null]},"model":"m","_key":"own"}`,
		`{"applicant":2,"yes":null,"mixed":"two","prediction":{"score":2,"both":[3,4]},"wide":1}`,
		`{"applicant":-3,"name":"","prediction":{"score":-1e-3},"wide":0.5,"twice":1,"twice":2,"object":[]}`,
		"not\nJSON", `[1,2]`, ``,
	}
	var list []*stream.Message
	for i, v := range values {
		list = append(list, message(lane, 10*i, v))
	}
	if err := to.Take(t.Context(), list[:3]); err != nil {
		t.Fatal(err)
	}
	if got := below(t, root); len(got) > 0 {
		t.Errorf("before it is flushed: %q", got)
	}
	if err := to.Take(t.Context(), list[3:]); err != nil {
		t.Fatal(err)
	}
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	const name = "s-1_t-3_%019d-%019d_%s.parquet" // with a digest: others are between them
	want := []string{"date=2026-11-27/hour=22/" + fmt.Sprintf(name, 100, 120, "c8915d2dd8ce8577"), "date=2026-11-27/hour=23/" + fmt.Sprintf(name, 130, 150, "8ae9266c2e45af9d")}
	if got := below(t, root); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	got := pyarrow(t, root)
	expect := map[string]string{
		"applicant": `[1,2,-3,null,null,null]`, "yes": `[true,null,null,null,null,null]`, "name": `["a \"é\"",null,"",null,null,null]`, "score": `[0.5,2,-0.001,null,null,null]`,
		"predicted_applicant": `[7,null,null,null,null,null]`, "both": `[[1,2.5],[3,4],null,null,null,null]`, "mixed": `["1","two",null,null,null,null]`,
		"object": `["{\"a\":[null]}",null,"[]",null,null,null]`, "wide": `[null,1,0.5,null,null,null]`, "twice": `[null,null,2,null,null,null]`, "predicted__key": `["own",null,null,null,null,null]`,
		"value": `[null,null,null,"not\nJSON","[1,2]",""]`, "_key": `["k0","k10","k20","k30","k40","k50"]`, "_topic": `["t","t","t","t","t","t"]`, "_partition": `[3,3,3,3,3,3]`,
		"_offset": `[100,110,120,130,140,150]`, "hour": `[22,22,22,23,23,23]`,
	}
	for column, text := range expect {
		if row := compact(got[column]); row != text {
			t.Errorf("%s: %s, not %s", column, row, text)
		}
	}
	if s := compact(got["_time"]); !strings.HasPrefix(s, `["2026-11-27T22:30:00.005Z"`) {
		t.Errorf("_time: %s", s)
	}
	if s := compact(got["_headers"]); !strings.HasPrefix(s, `["{\"serval-model\":\"m\",\"raw\":\"`) {
		t.Errorf("_headers: %s", s)
	}

	// The same messages again, in other pieces: the files that there are, and no others where they are cut at the same places.
	for _, m := range list {
		if err := to.Take(t.Context(), []*stream.Message{m}); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := below(t, root); !slices.Equal(got, want) {
		t.Errorf("again: %q", got)
	}
}

func compact(v []any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return strings.TrimSpace(b.String())
}

// pyarrow reads a folder as a data set, by column.
func pyarrow(t *testing.T, root string) map[string][]any {
	t.Helper()
	const script = `import sys, json, pyarrow.dataset as d
s = d.dataset(sys.argv[1], partitioning="hive", exclude_invalid_files=False)
print(json.dumps({k: v for k, v in s.to_table().sort_by("_offset").to_pydict().items()}, default=str))`
	cmd := exec.Command(testkit.Cache(t, "venv-columns", "bin", "python"), "-c", script, root)
	out, err := cmd.Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			t.Fatalf("pyarrow: %s", e.Stderr)
		}
		t.Fatal(err)
	}
	return columntest.Expected(t, out)
}

// Columns that were configured are all that there are, and what does not fit them fails alone.
func TestColumns(t *testing.T) {
	root := t.TempDir()
	to := open(t, func(o *TargetOptions) {
		o.Path, o.Metadata, o.Compression = root, false, "snappy"
		o.Columns = map[string]string{"applicant": "int", "score": "float", "note": "text", "raw": "json", "never": "bool"}
	})
	lane := stream.NewLane("t/3", nil)
	list := []*stream.Message{
		message(lane, 0, `{"applicant":1,"prediction":{"score":1},"note":5,"raw":"x","other":1}`), message(lane, 1, `{"applicant":1.5}`), message(lane, 2, `{"applicant":"2"}`),
		message(lane, 3, `{"raw":[1],"applicant":null,"note":"\u0041"}`), message(lane, 4, `{"never":1}`), message(lane, 5, `text`),
	}
	err := to.Write(t.Context(), list)
	var partly *stream.WriteError
	if !errors.As(err, &partly) || len(partly.Failed) != 3 {
		t.Fatal(err)
	}
	for i, column := range map[int]string{1: "applicant", 2: "applicant", 4: "never"} {
		if e := partly.Failed[i]; !stream.IsPermanent(e) || serval.AsError(e).Param != column {
			t.Errorf("message %d: %v", i, e)
		}
	}
	files := tree(t, root)
	if len(files) != 1 {
		t.Fatalf("%q", files)
	}
	got := columntest.Values(t, parquet.Format{}, files[0], nil, 100, 0)
	for column, text := range map[string]string{"applicant": `[{"int":"1"},null,null]`, "score": `[1,null,null]`, "note": `["5","A",null]`, "raw": `["\"x\"","[1]",null]`, "never": `[null,null,null]`} {
		if row := compact(got[column]); row != text {
			t.Errorf("%s: %s, not %s", column, row, text)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d columns", len(got))
	}
}

func TestLines(t *testing.T) {
	root := t.TempDir()
	to := open(t, func(o *TargetOptions) { o.Path, o.Format, o.Compression = "file://"+root, "jsonl", "gzip" })
	bare := message(nil, 2, `{ }`)
	bare.Key, bare.Time, bare.Headers, bare.Position = nil, time.Time{}, nil, stream.Position{Topic: "q", ID: "x"}
	list := []*stream.Message{message(nil, 0, "{\n \"a\": [1, 2]\n}"), message(nil, 1, " 5 "), bare, message(nil, 3, "text"), message(nil, 4, "\xff\x00")}
	if err := to.Write(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range tree(t, root) {
		if !strings.HasSuffix(name, ".jsonl.gz") {
			t.Errorf("a file %s", name)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		for line := range strings.Lines(string(raw)) {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
			before, _, _ := strings.Cut(line, `,"_topic":`)
			all = append(all, before)
		}
	}
	slices.Sort(all)
	want := []string{`{"_key":null`, `{"a":[1,2],"_key":"k0"`, `{"value":"text","_key":"k3"`, `{"value":5,"_key":"k1"`, `{"value_base64":"/wA=","_key":"k4"`}
	if !slices.Equal(all, want) {
		t.Errorf("%q", all)
	}
}

// Files roll by time, by rows and by bytes.
func TestDue(t *testing.T) {
	for _, c := range []struct {
		change func(*TargetOptions)
		now    bool
	}{
		{func(o *TargetOptions) { o.RollEvery = time.Hour }, false}, {func(o *TargetOptions) { o.RollEvery = time.Nanosecond }, true},
		{func(o *TargetOptions) { o.RollRows = 2 }, true}, {func(o *TargetOptions) { o.RollRows = 3 }, false},
		{func(o *TargetOptions) { o.RollBytes = 8 }, true}, {func(o *TargetOptions) { o.RollBytes = 9 }, false},
	} {
		to := open(t, func(o *TargetOptions) { o.Path = t.TempDir(); c.change(o) })
		if !to.Due().IsZero() {
			t.Error("an empty one is due")
		}
		if err := to.Take(t.Context(), []*stream.Message{message(nil, 0, "{}"), message(nil, 1, "{}")}); err != nil {
			t.Fatal(err)
		}
		if now := !time.Now().Before(to.Due()); now != c.now {
			t.Errorf("%+v: due %v", to.opt, now)
		}
	}
}

// What a killed process left in the folder of files in the making is gone when the target is opened again; others' only when old.
func TestLeftovers(t *testing.T) {
	root := t.TempDir()
	change := func(o *TargetOptions) { o.Path = root }
	staging := open(t, change).staging()
	other := filepath.Join(filepath.Dir(staging), "other.i.0")
	for _, dir := range []string{staging, other} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, age := range map[string]time.Duration{"0.part": 0, "1.part": 48 * time.Hour} {
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, []byte("half"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
	}
	open(t, change)
	left, err := filepath.Glob(filepath.Dir(staging) + "/*/*")
	if err != nil || len(left) != 1 || left[0] != filepath.Join(other, "0.part") {
		t.Errorf("%q, %v", left, err)
	}
}

// An S3 store that goes away while messages flow: none is lost, and a file is seen whole or not at all.
func TestS3(t *testing.T) {
	b := testkit.S3(t)
	streamtest.RunTarget(t, feed.NewNATS(t, false), bucket{b}, "AckAfterSeen", "Outage", "Cut")
	to := open(t, func(o *TargetOptions) { o.Path, o.S3 = "s3://none/x", bucket{b}.keys() })
	if err := to.Write(t.Context(), []*stream.Message{message(nil, 0, "{}")}); serval.AsError(err).Code != serval.NotFound || stream.IsPermanent(err) {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

type bucket struct{ b *testkit.Bucket }

func (b bucket) keys() S3 {
	return S3{Endpoint: b.b.Endpoint, Region: b.b.Region, AccessKey: b.b.AccessKey, SecretKey: b.b.SecretKey}
}

func (b bucket) Create(*testing.T, string) {}

func (b bucket) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	o := defaults()
	o.Path, o.Format, o.RollEvery, o.S3 = "s3://"+b.b.Name+"/"+place+"/{year}/{month}/{day}", "jsonl", 50*time.Millisecond, b.keys()
	return Broker{}.Target(ctx, o, env)
}

func (b bucket) All(t *testing.T, place string) []stream.Message {
	if _, err := os.Stat(filepath.Join(b.b.Dir, place)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return sink{b.b.Dir}.All(t, place)
}

func (b bucket) Down(*testing.T, string) func() {
	b.b.Kill()
	return b.b.Start
}

func (b bucket) Keeps() (headers, once bool) { return true, false }

func TestCheck(t *testing.T) {
	for what, change := range map[string]func(*TargetOptions){
		"path": func(o *TargetOptions) { o.Path = "" }, "path ": func(o *TargetOptions) { o.Path = "/a/{week}" }, "path  ": func(o *TargetOptions) { o.Path = "gcs://b/x" },
		"path   ": func(o *TargetOptions) { o.Path = "s3://{date}/x" }, "path    ": func(o *TargetOptions) { o.Path = "/a*b" },
		"roll_every": func(o *TargetOptions) { o.RollEvery = 0 }, "format": func(o *TargetOptions) { o.Format = "csv" },
		"compression": func(o *TargetOptions) { o.Format, o.Compression = "jsonl", "zstd" },
		"columns":     func(o *TargetOptions) { o.Columns = map[string]string{"a": "number"} }, "columns ": func(o *TargetOptions) { o.Columns = map[string]string{"_key": "text"} },
		"s3": func(o *TargetOptions) { o.S3.AccessKey = "a" }, "azure": func(o *TargetOptions) { o.Azure.Account, o.Azure.AccountKey, o.Azure.SAS = "a", "b", "c" },
		"azure ": func(o *TargetOptions) { o.Azure.AccountKey = "a" },
	} {
		o := defaults()
		o.Path = "/a/date={date}"
		change(o)
		if err := (Broker{}).Check(o); serval.AsError(err).Code != serval.InvalidArgument || serval.AsError(err).Param != strings.TrimSpace(what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for path, want := range map[string][2]string{"/a/b/": {"/a/b", ""}, "/a/x{date}/{hour}": {"/a", "x{date}/{hour}"}, "{date}": {".", "{date}"}, "/{topic}": {"/", "{topic}"},
		"s3://b": {"s3://b", ""}, "s3://b/{date}?region=x": {"s3://b", "{date}"},
		"gs://b/{date}": {"gs://b", "{date}"}, "azblob://b/x/{date}?account=a": {"azblob://b/x", "{date}"}} {
		f, err := parsePath(path)
		if err != nil || f.root != want[0] || f.rest != want[1] {
			t.Errorf("%s: %+v, %v", path, f, err)
		}
	}
}

// FuzzTake: no value breaks the columns or the lines, and what is JSON stays so.
func FuzzTake(f *testing.F) {
	for _, v := range []string{`{"a":1,"prediction":{"a":[1,2],"b":{}},"a":null}`, `{"value":1,`, `[[]]`, `1e999`, `"\ud83d\ude00"`, `{"":0,"_rest":1,"_key":2}`, "\xff", "{\r}"} {
		f.Add([]byte(v), `{"a":"x","b":2.5}`)
	}
	f.Fuzz(func(t *testing.T, one []byte, two string) {
		to := &target{opt: defaults(), schema: newSchema(nil)}
		g := &group{}
		for _, v := range [][]byte{one, []byte(two), one} {
			m := &stream.Message{Value: v}
			cells, err := to.schema.take(m)
			if err != nil {
				t.Fatal(err)
			}
			g.rows = append(g.rows, row{m, cells})
			if line := appendLine(nil, m, true); !json.Valid(line) || bytes.IndexByte(line, '\n') != len(line)-1 {
				t.Errorf("%q becomes %q", v, line)
			}
		}
		for _, v := range to.vectors(to.schema.kept(), g.rows) {
			size := v.DType.Size()
			if v.Shape != nil {
				size *= int(v.Shape[0])
			}
			if size > 0 && len(v.Data) != 3*size {
				t.Errorf("column %q has %d bytes", v.Name, len(v.Data))
			}
		}
		if len(g.origins(g.rows)) != 6 {
			t.Error("metadata")
		}
	})
}

// TestPart: a part of a file's messages that is written again, from its first to its last, has a file of its own; the same ones have
// the same file.
func TestPart(t *testing.T) {
	root := t.TempDir()
	to := open(t, func(o *TargetOptions) { o.Path, o.Format = root, "jsonl" })
	lane := stream.NewLane("t-3", nil)
	write := func(offsets ...int) []string {
		t.Helper()
		for _, n := range offsets {
			if err := to.Take(t.Context(), []*stream.Message{message(lane, n, `{"a":1}`)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := to.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return below(t, root)
	}
	all := write(0, 1, 2, 3, 4)
	if len(all) != 1 {
		t.Fatal(all)
	}
	before, err := os.ReadFile(filepath.Join(root, all[0]))
	if err != nil {
		t.Fatal(err)
	}
	for i, offsets := range [][]int{{0, 4}, {0, 2, 4}, {0, 1, 4}, {0, 4}, {0, 1, 2, 3, 4}} {
		if got, want := len(write(offsets...)), min(i+2, 4); got != want {
			t.Errorf("%v: %d files, want %d", offsets, got, want)
		}
	}
	if after, err := os.ReadFile(filepath.Join(root, all[0])); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file of all is now %q %v", after, err)
	}
}
