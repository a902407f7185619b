//go:build hurt

package hurt

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"serval/internal/testkit"
)

// TestBatch: jobs without a server that are killed, that have much to read, and whose disk is full.
func TestBatch(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		t.Run("kill", func(t *testing.T) { batchKill(t, b) })
		t.Run("memory", func(t *testing.T) { batchMemory(t, b) })
		t.Run("full", func(t *testing.T) { batchFull(t, b) })
	})
}

// batchTable writes a table for the model mlp: a name and four numbers a row, of which it gets its 30; each hundredth row is bad.
func batchTable(t *testing.T, path string, rows int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "id,a,b,c,d,note")
	for i := range rows {
		if i%100 == 99 {
			fmt.Fprintf(w, "row-%d,%d,none,0,0,\"a \"\"bad\"\" one\"\n", i, i)
			continue
		}
		fmt.Fprintf(w, "row-%d,%d,%d.5,%g,-1e-3,\"note, %d\"\n", i, i%97, i%31, float64(i%1000)/8, i%7)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// batchJob is a command that scores the table.
func batchJob(t *testing.T, b build, models, in, out string, more ...string) *exec.Cmd {
	args := []string{"batch", "run", "mlp", "-i", in, "-o", out, "--models", models, "--data", filepath.Join(models, "..", "data"), "--map", "x=" + strings.Repeat("a,b,c,d,", 7) + "a,b", "--report", "json"}
	return exec.CommandContext(t.Context(), testkit.Build(t, b.race), append(args, more...)...)
}

type batchReport struct{ Rows, Bad, Resumed int }

func batchRun(t *testing.T, cmd *exec.Cmd) (r batchReport) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return r
}

func batchModels(t *testing.T) string {
	t.Helper()
	models := filepath.Join(t.TempDir(), "models")
	mlp(t, models, "mlp", "")
	return models
}

// batchKill kills a job 20 times with signal 9, at random times; what comes out is what an undisturbed run gives, byte for byte.
func batchKill(t *testing.T, b build) {
	rows := pick(b, 400_000, 100_000)
	models, dir := batchModels(t), t.TempDir()
	in, want := filepath.Join(dir, "in.csv"), filepath.Join(dir, "want.jsonl")
	batchTable(t, in, rows)
	if r := batchRun(t, batchJob(t, b, models, in, want, "--rows", "256", "--checkpoint", "5ms")); r.Rows != rows || r.Bad != rows/100 {
		t.Fatalf("undisturbed: %+v", r)
	}
	whole := fileSize(want)
	out := filepath.Join(dir, "out.jsonl")
	random := rand.New(rand.NewPCG(11, 13))
	kills, ended := 0, false
	for kills < 20 && !ended {
		cmd := batchJob(t, b, models, in, out, "--rows", "256", "--checkpoint", "5ms")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// How long it takes depends on what else the machine does, so what is written says when.
		enough := max(fileSize(out+".part"), 0) + 1 + random.Int64N(whole/16)
		for deadline := time.Now().Add(time.Minute); fileSize(out+".part") < enough && time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
			if _, err := os.Stat(out); err == nil {
				break
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		ended = fileSize(out) >= 0 && fileSize(out+".checkpoint") < 0 // it came to its end before
		kills++
	}
	if kills < 5 {
		t.Errorf("killed %d times only", kills)
	}
	if !ended {
		r := batchRun(t, batchJob(t, b, models, in, out))
		t.Logf("%d kills; the last run found %d of %d rows done", kills, r.Resumed, rows)
		if r.Rows != rows || r.Bad != rows/100 || r.Resumed == 0 {
			t.Errorf("the last run: %+v", r)
		}
	}
	for _, suffix := range []string{"", ".errors.jsonl"} {
		sameFile(t, out+suffix, want+suffix)
	}
	if left, _ := filepath.Glob(out + "*"); len(left) != 2 {
		t.Errorf("there are %v", left)
	}
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	if w, err := os.ReadFile(want); err != nil || !bytes.Equal(g, w) {
		t.Errorf("%s: not as undisturbed (%d and %d bytes), %v", filepath.Base(got), len(g), len(w), err)
	}
}

// batchMemory has a small file and one of some million rows: the memory that a job takes does not depend on it.
func batchMemory(t *testing.T, b build) {
	models, dir := batchModels(t), t.TempDir()
	peak := func(rows int) int64 {
		in, out := filepath.Join(dir, "in.csv"), filepath.Join(dir, fmt.Sprintf("out-%d.csv", rows))
		batchTable(t, in, rows)
		cmd := batchJob(t, b, models, in, out)
		if r := batchRun(t, cmd); r.Rows != rows {
			t.Fatalf("%+v", r)
		}
		return maxRSS(cmd)
	}
	many := pick(b, 2_000_000, 200_000)
	few := peak(many / 20)
	if most := peak(many); most > few+b.growth+(32<<20) {
		t.Errorf("%d MiB for %d rows, %d MiB for %d", most>>20, many, few>>20, many/20)
	} else {
		t.Logf("%d MiB for %d rows, %d MiB for %d", most>>20, many, few>>20, many/20)
	}
}

// batchFull has no room for the whole output: the job says so, and goes on where it stopped once there is room.
func batchFull(t *testing.T, b build) {
	rows := pick(b, 100_000, 20_000)
	models, dir, small := batchModels(t), t.TempDir(), mount(t, "16m")
	in, want, out := filepath.Join(dir, "in.csv"), filepath.Join(dir, "want.csv"), filepath.Join(small, "out.csv")
	batchTable(t, in, rows)
	batchRun(t, batchJob(t, b, models, in, want))
	ballast := filepath.Join(small, "ballast")
	room := fileSize(want) / 2
	write(t, ballast, make([]byte, 16<<20-room))
	cmd := batchJob(t, b, models, in, out, "--checkpoint", "5ms", "--rows", "256")
	said, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "the disk is full") || !strings.Contains(string(said), "the same command goes on") {
		t.Fatalf("with a full disk: %v\n%s", err, said)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if r := batchRun(t, batchJob(t, b, models, in, out, "--rows", "256")); r.Rows != rows || r.Resumed == 0 {
		t.Errorf("with room again: %+v", r)
	}
	for _, suffix := range []string{"", ".errors.jsonl"} {
		sameFile(t, out+suffix, want+suffix)
	}
}

// maxRSS is the most memory that a process that has ended had in RAM.
func maxRSS(cmd *exec.Cmd) int64 {
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}
