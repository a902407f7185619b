package config

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"serval"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file beside the input.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", file, got, want)
	}
}

// onnxOptions stands for an engine's Options.
type onnxOptions struct {
	Threads int    `yaml:"threads" doc:"threads of a call" min:"1"`
	Spin    bool   `yaml:"spin" doc:"wait busily"`
	Level   string `yaml:"level" doc:"how much is optimised" enum:"none,basic,all"`
	Arena   Size   `yaml:"arena" doc:"memory kept"`
	Hidden  int
}

func testEngines() map[string]any {
	return map[string]any{"onnx": &onnxOptions{Threads: 1, Spin: true, Level: "all"}, "fake": &struct{}{}}
}

func testEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"HOME": "/home/ann", "THREADS": "4", "SECRET": "s3cret-token", "CONTROL": "maybe",
		"OPS_HASH": HashKey("ops-key"),
	}[name]
	return value, ok
}

func TestServerGolden(t *testing.T) {
	files, _ := filepath.Glob("testdata/server/*.yaml")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Read(Source{Data: data, File: filepath.Base(file), Env: testEnv, Engines: testEngines()})
			checkGolden(t, file, err)
		})
	}
}

func TestModelGolden(t *testing.T) {
	files, _ := filepath.Glob("testdata/model/*.yaml")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ReadModel(data, filepath.Base(file))
			checkGolden(t, file, err)
		})
	}
}

func checkGolden(t *testing.T, file string, err error) {
	t.Helper()
	if strings.HasPrefix(filepath.Base(file), "good") {
		if err != nil {
			t.Errorf("refused:\n%v", err)
		}
		return
	}
	var list *Errors
	if !errors.As(err, &list) {
		t.Fatalf("error %T, want *Errors", err)
	}
	if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "sk-this") {
		t.Errorf("the message shows a secret:\n%v", err)
	}
	golden(t, strings.TrimSuffix(file, ".yaml")+".want", err.Error()+"\n")
}

func TestReadFillsIn(t *testing.T) {
	data, err := os.ReadFile("testdata/server/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	engines := testEngines()
	c, err := Read(Source{Data: data, File: "good.yaml", Env: testEnv, Engines: engines})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen, want.GRPC, want.Admin = "0.0.0.0:8443", "[::]:8444", "localhost:9000"
	want.ModelDirs = []string{"/srv/models", "/home/ann/more"}
	want.TLS = TLS{"/etc/serval/cert.pem", "/etc/serval/key.pem"}
	want.Keys = []Key{
		{Name: "ann", Hash: HashKey("password"), Access: []string{"infer", "read"}, Limits: KeyLimits{12.5, 50}},
		{Name: "ops", Hash: HashKey("ops-key"), Access: []string{"infer", "read", "control"}},
	}
	want.Limits.MaxBody, want.Limits.RequestTimeout, want.Limits.MaxConnections = 128<<20, 90*time.Second, 1000
	want.Log.Format = "json"
	want.Traces.Sample = 0.05
	want.Engines = engines
	want.Models = map[string]serval.ModelSettings{"credit": {
		Batching: serval.BatchSettings{Mode: "on", Max: 32, Preferred: []int{8, 32}, MaxDelay: 2 * time.Millisecond},
		Versions: serval.VersionPolicy{Specific: []int64{1, 3}},
		Aliases:  map[string]string{"prod": "3"},
		Options:  map[string]string{"intra_op_num_threads": "2", "arena": "true"},
	}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if got := *engines["onnx"].(*onnxOptions); got != (onnxOptions{Threads: 4, Level: "all"}) {
		t.Errorf("the engine's options are %+v", got)
	}
	digest := c.Keys[0].Digest()
	if digest[0] != 0x5e || digest[31] != 0xd8 {
		t.Errorf("digest %x", digest)
	}
}

func TestNothingSaid(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "{}"} {
		c, err := Read(Source{Data: []byte(text), File: "serval.yaml"})
		if err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %v, %+v", text, err, c)
		}
	}
}

func TestOverride(t *testing.T) {
	text := []byte("listen: 0.0.0.0:8080\n")
	if _, err := Read(Source{Data: text, File: "f", Override: func(c *Config) { c.Insecure = true }}); err != nil {
		t.Errorf("--insecure does not help: %v", err)
	}
	_, err := Read(Source{Data: []byte("listen: 127.0.0.1:1\n"), File: "f", Override: func(c *Config) { c.Listen = "example.org" }})
	if want := `command line: listen: must be host:port such as 127.0.0.1:8080, not "example.org"`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestCheckModel(t *testing.T) {
	err := CheckModel(&serval.ModelSettings{Batching: serval.BatchSettings{Mode: "onn"}}, "override")
	if want := `override: batching.mode: must be one of auto, on, off, not the text "onn"; did you mean "on"?`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := CheckModel(&serval.ModelSettings{}, "override"); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefusesBombs(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "]\n"
	}
	for name, text := range map[string]string{
		"aliases": bomb,
		"self":    "options: &o {a: *o}\n",
		"deep":    "options: " + strings.Repeat("[", 100_000),
		"maps":    strings.Repeat("{a: ", 50_000),
		"large":   "#" + strings.Repeat("x", maxFile),
	} {
		_, err := ReadModel([]byte(text), "f")
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if len(err.Error()) > 20_000 {
			t.Errorf("%s: the message has %d bytes", name, len(err.Error()))
		}
	}
}

func TestDecodeRefusesWhatIsNoStruct(t *testing.T) {
	if err := Decode(nil, "f", onnxOptions{}); err == nil {
		t.Error("a value was taken where a pointer is needed")
	}
	var into struct {
		C chan int `yaml:"c"`
	}
	if err := Decode([]byte("c: 1"), "f", &into); err == nil || !strings.Contains(err.Error(), "bug") {
		t.Errorf("a channel: %v", err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1B": 1, "1.5KiB": 1536, "64MiB": 64 << 20, "2 GB": 2e9, "10kB": 10000, "1TiB": 1 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if again, err := ParseSize(want.String()); err != nil || again != want {
			t.Errorf("%v does not come back: %v, %v", want, again, err)
		}
	}
	for _, text := range []string{"", "12", "-1B", "MiB", "nanB", "infB", "0x10B", "9e30B", "1 MiB s", "1mib"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestSchemaGolden(t *testing.T) {
	c := Default()
	c.Engines = testEngines()
	for name, v := range map[string]any{"serval.yaml": c, "model.yaml": new(serval.ModelSettings)} {
		s, err := Schema(name, v)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(s) {
			t.Errorf("%s: not JSON", name)
		}
		golden(t, "testdata/"+strings.TrimSuffix(name, ".yaml")+".schema.json", string(s)+"\n")
	}
}

func FuzzRead(f *testing.F) {
	for _, pattern := range []string{"testdata/server/*.yaml", "testdata/model/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte("a: &a\n  <<: *a\n"))
	f.Add([]byte("{\"batching\": {\"max\": 1e3}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := Read(Source{Data: data, File: "f", Env: testEnv, Engines: testEngines()})
		checkErrors(t, err)
		_, err = ReadModel(data, "f")
		checkErrors(t, err)
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var list *Errors
	if !errors.As(err, &list) || len(*list) == 0 {
		t.Fatalf("error %T: %v", err, err)
	}
	for _, e := range *list {
		if e.Line < 1 || e.Col < 1 || e.Reason == "" || strings.ContainsAny(e.Reason, "\n\r") {
			t.Fatalf("%#v", e)
		}
	}
}
