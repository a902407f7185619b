package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serval/internal/testkit"
)

// applicants writes a table of n applicants, of the five that the credit model brings; each hundredth row is bad.
func applicants(t *testing.T, path string, n int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(models(t), "credit", "applicants.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	var b bytes.Buffer
	b.WriteString(lines[0] + "\n")
	for i := range n {
		_, rest, _ := strings.Cut(lines[1+i%5], ",")
		if i%100 == 99 {
			rest = rest[strings.IndexByte(rest, ',')+1:]
		}
		fmt.Fprintf(&b, "id-%d,%s\n", i, rest)
	}
	write(t, path, b.String())
}

// TestBatch runs a job without a server in every form, and beside one.
func TestBatch(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), models(t)
	in := filepath.Join(m, "credit", "applicants.csv")
	local := []string{"--models", m, "--data", filepath.Join(dir, "data")}
	job := func(args ...string) said { return run(t, append([]string{"batch", "run"}, args...)...) }
	out := filepath.Join(dir, "out.csv")
	job(append([]string{"credit", "-i", in, "-o", out}, local...)...).want(t, 0, "5 rows")
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	sameTable(t, strings.ReplaceAll(string(data), ",", "  "), credit)
	job(append([]string{"credit", "-i", in, "-o", out}, local...)...).want(t, 1, "--restart")

	s := serve(t)
	var report struct {
		Rows, Bad int
		Seconds   float64
	}
	job("credit", "-i", in, "-o", filepath.Join(dir, "out.jsonl"), "--server", s.URL(""), "--report", "json", "--passthrough", "none", "--want", "risk").into(t, &report)
	if report.Rows != 5 || report.Bad != 0 || report.Seconds <= 0 {
		t.Errorf("report %+v", report)
	}
	data, err = os.ReadFile(filepath.Join(dir, "out.jsonl"))
	want := ""
	for _, risk := range []string{"good", "bad", "good", "good", "bad"} {
		want += `{"risk":"` + risk + "\"}\n"
	}
	if err != nil || string(data) != want {
		t.Errorf("%v\n%s", err, data)
	}

	// What a job will take; so small a one is done whole.
	run(t, append([]string{"batch", "plan", "credit", "-i", in, "--price-per-hour", "36"}, local...)...).want(t, 0, "5 rows", "rows/s", "busy", "at 36 an hour")

	// A matrix, from standard input to standard output, headless and by name.
	for text, args := range map[string][]string{
		"1,2,3,4\n5.5,6,7,-8\n":                 {},
		"d,c,b,a,id\n4,3,2,1,x\n-8,7,6,5.5,y\n": {"--map", "x=a,b,c,d", "--passthrough", "none"},
	} {
		cmd := exec.CommandContext(t.Context(), testkit.Build(t, false), append(append([]string{"batch", "run", "labelled", "-i", "-", "-o", "-"}, local...), args...)...)
		cmd.Stdin = strings.NewReader(text)
		data, err := cmd.Output()
		if err != nil || string(data) != "cat,dog,bird,fish\n1,2,3,4\n5.5,6,7,-8\n" {
			t.Errorf("%v\n%s", err, data)
		}
	}
}

// TestBatchKilled kills jobs with signal 9 where their checkpoint has come to random rows; the output is that of an undisturbed run.
func TestBatchKilled(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"csv", "parquet"} {
		t.Run(format, func(t *testing.T) { batchKilled(t, format) })
	}
}

func batchKilled(t *testing.T, format string) {
	const rows, kills = 60000, 6
	dir, m := t.TempDir(), models(t)
	in := filepath.Join(dir, "in.csv")
	applicants(t, in, rows)
	job := func(out string) []string {
		return []string{"batch", "run", "credit", "-i", in, "-o", out, "--models", m, "--data", filepath.Join(dir, "data"), "--rows", "512", "--checkpoint", "1ms"}
	}
	want := filepath.Join(dir, "want."+format)
	run(t, job(want)...).want(t, 0, "60,000 rows", "600 bad")
	random := rand.New(rand.NewPCG(7, 7))
	out := filepath.Join(dir, "out."+format)
	killed := 0
	for n := 1; n <= kills; n++ {
		if kill(t, job(out), out+".checkpoint", rows*n/(kills+2)+random.IntN(rows/20)) {
			killed++
		}
	}
	if killed < kills/2 {
		t.Errorf("killed %d times only", killed)
	}
	var report struct{ Rows, Bad, Resumed int }
	run(t, append(job(out), "--report", "json")...).into(t, &report)
	if report.Rows != rows || report.Bad != rows/100 || report.Resumed < rows/4 {
		t.Errorf("report %+v", report)
	}
	for _, suffix := range []string{"", ".errors.jsonl"} {
		got, err := os.ReadFile(out + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := os.ReadFile(want + suffix); err != nil || !bytes.Equal(got, w) {
			t.Errorf("%q: another output than undisturbed (%d and %d bytes), %v", suffix, len(got), len(w), err)
		}
	}
	if left, _ := filepath.Glob(out + "*"); len(left) != 2 {
		t.Errorf("there are %v", left)
	}
}

// kill starts the program and kills it once its checkpoint knows of so many rows; false if it ended before that.
func kill(t *testing.T, args []string, checkpoint string, rows int) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testkit.Build(t, false), args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			return false
		case <-time.After(time.Millisecond):
		}
		var c struct{ Count struct{ Rows int } }
		if data, err := os.ReadFile(checkpoint); err == nil && json.Unmarshal(data, &c) == nil && c.Count.Rows >= rows {
			_ = cmd.Process.Kill()
			<-ended
			return true
		}
	}
}

// TestBatchInterrupted stops a job by Ctrl-C: it says how to go on, and does so.
func TestBatchInterrupted(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), models(t)
	in, out := filepath.Join(dir, "in.csv"), filepath.Join(dir, "out.csv")
	applicants(t, in, 100000)
	args := []string{"batch", "run", "credit", "-i", in, "-o", out, "--models", m, "--data", filepath.Join(dir, "data"), "--rows", "256", "--checkpoint", "1ms"}
	cmd := exec.CommandContext(t.Context(), testkit.Build(t, false), args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if data, err := os.ReadFile(out + ".checkpoint"); err == nil && bytes.Contains(data, []byte(`"writer"`)) {
			break
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(said.String(), "goes on from there") || !strings.Contains(said.String(), "serval batch run credit -i "+in) {
		t.Errorf("exit code %d\n%s", code, said.String())
	}
	again := run(t, args...).want(t, 0, "100,000 rows", "were done before")
	if !strings.Contains(again.errs, "going on behind row") {
		t.Errorf("it does not say that it resumes:\n%s", again.errs)
	}
}
