//go:build hurt

package hurt

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	jobclient "serval/client"
	"serval/internal/testkit"
)

// TestJobs: a server that works on a job in parts, and takes files that appear, is killed with signal 9 again and again.
func TestJobs(t *testing.T) {
	both(t, func(t *testing.T, b build) { jobsKill(t, b) })
}

const kills = 20

// jobsModel takes 5 ms for each call.
const jobsModel = `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2],"symbols":["n",""]}],
	"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2],"symbols":["n",""]}],"delay":"5ms"}`

func jobsTable(t *testing.T, path string, rows int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "id,a,b,note")
	for i := range rows {
		a := fmt.Sprint(i % 911)
		if i%100 == 99 {
			a = "none"
		}
		fmt.Fprintf(w, "row-%d,%s,%d.5,\"two\nlines, %d\"\n", i, a, i%31, i%7)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// jobsKill kills the server at 20 random moments, from its start on. What comes out is what an undisturbed job of one part gives, byte
// for byte, and each file that appeared meanwhile has one job.
func jobsKill(t *testing.T, b build) {
	const rows = 80_000
	dir := t.TempDir()
	models, data, drop := filepath.Join(dir, "models"), filepath.Join(dir, "data"), filepath.Join(dir, "drop")
	write(t, filepath.Join(models, "sums", "1", "model.fake"), []byte(jobsModel))
	write(t, filepath.Join(drop, "before.csv"), []byte("id,a,b\nx,1,2\n"))
	in, want, out := filepath.Join(dir, "in.csv"), filepath.Join(dir, "want.csv"), filepath.Join(dir, "out.csv")
	jobsTable(t, in, rows)
	o := setup{models: models, data: data, config: "batch: {workers: 2, lease: 1s}\nlog: {access: false}\n"}
	server := func() (*testkit.Server, *jobclient.Client) {
		s := start(t, b, o)
		c := jobclient.New(s.Admin, "")
		t.Cleanup(c.Close)
		return s, c
	}
	s, c := server()
	ask := func(output string, parts, block int) *jobclient.Job {
		t.Helper()
		spec, _ := json.Marshal(map[string]any{"model": "sums", "input": []string{in}, "output": output, "map": map[string][]string{"x": {"a", "b"}},
			"passthrough": []string{"id", "note"}, "parts": parts, "rows": block}) // plain data
		j, err := c.Submit(t.Context(), &jobclient.Submission{Job: spec})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	until := func(id string) *jobclient.Job {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			j, err := c.Job(t.Context(), id)
			if err == nil && j.Over() {
				return j
			}
			if time.Now().After(end) {
				t.Fatalf("no end: %+v %v", j, err)
			}
		}
	}
	if j := until(ask(want, 0, 4096).ID); j.State != "succeeded" || j.Result.Rows != rows || j.Result.Bad != rows/100 {
		t.Fatalf("undisturbed: %+v", j)
	}
	watch, _ := json.Marshal(map[string]any{"model": "sums", "output": filepath.Join(dir, "{stem}-scored.csv"), "map": map[string][]string{"x": {"a", "b"}}}) // plain data
	if _, err := c.AddSchedule(t.Context(), &jobclient.Scheduling{Name: "drops", Watch: drop, Every: "1s", Settle: "0s", Priority: 9, Job: watch}); err != nil {
		t.Fatal(err)
	}
	j := ask(out, 6, 16)
	random := rand.New(rand.NewPCG(7, 19))
	for i := range kills {
		if now, err := c.Job(t.Context(), j.ID); err != nil || now.Over() {
			t.Fatalf("the job ended before kill %d: %+v %v", i+1, now, err)
		}
		write(t, filepath.Join(drop, fmt.Sprintf("%d.csv", i)), []byte("id,a,b\nx,1,2\n"))
		time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
		s.Kill()
		s, c = server()
	}
	end := until(j.ID)
	if end.State != "succeeded" || end.Result.Rows != rows || end.Result.Bad != rows/100 || len(end.Result.Files) != 2 {
		t.Fatalf("after %d kills: %+v", kills, end)
	}
	t.Logf("%d kills, %d attempts at %d parts", kills, end.Progress.Attempts, end.Progress.Pieces)
	for _, suffix := range []string{"", ".errors.jsonl"} {
		sameFile(t, out+suffix, want+suffix)
	}
	if left, _ := filepath.Glob(filepath.Join(data, "jobs", j.ID, "*part-*.csv*")); len(left) > 0 {
		t.Errorf("parts are left: %v", left)
	}
	jobsOnce(t, c)
}

// jobsOnce waits until each file has its job, and finds no second one.
func jobsOnce(t *testing.T, c *jobclient.Client) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		list, err := c.Jobs(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		made, over := 0, true
		for i := range list {
			if list[i].Name == "drops" {
				made++
				over = over && list[i].Over()
				if list[i].Over() && list[i].State != "succeeded" {
					t.Fatalf("a file's job: %+v", list[i])
				}
			}
		}
		switch {
		case made == kills && over:
			return
		case made > kills || time.Now().After(end):
			t.Fatalf("%d jobs of %d files", made, kills)
		}
	}
}
