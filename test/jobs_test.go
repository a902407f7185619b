package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jobclient "serval/client"
	"serval/internal/testkit"
)

// slowRows is a model that takes its time for each call, so that a job can be met while it runs.
var slowRows = map[string]string{
	"sums/model.yaml": "instances: 1\n",
	"sums/1/model.fake": `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2],"symbols":["n",""]}],
		"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2],"symbols":["n",""]}],"delay":"10ms"}`,
}

// jobFiles lays out the model and that many input files of rows each, and returns their folder.
func jobFiles(t *testing.T, files, rows int) (models, dir string) {
	t.Helper()
	dir = t.TempDir()
	models = filepath.Join(dir, "models")
	for path, text := range slowRows {
		write(t, filepath.Join(models, path), text)
	}
	for f := range files {
		var b bytes.Buffer
		b.WriteString("id,a,b\n")
		for i := range rows {
			fmt.Fprintf(&b, "%d-%d,%d,%d.5\n", f, i, i, i%97)
		}
		write(t, filepath.Join(dir, "in", fmt.Sprintf("%d.csv", f)), b.String())
	}
	return models, dir
}

// rowsSpec asks for blocks that are small enough for a job of some seconds.
func rowsSpec(dir, output string, split bool) json.RawMessage {
	spec := map[string]any{"model": "sums", "input": []string{filepath.Join(dir, "in")}, "output": output, "map": map[string][]string{"x": {"a", "b"}},
		"passthrough": []string{"id"}, "rows": 16, "parallel": 1, "split": split}
	raw, _ := json.Marshal(spec) // plain data
	return raw
}

func submit(t *testing.T, c *jobclient.Client, s *jobclient.Submission) *jobclient.Job {
	t.Helper()
	j, err := c.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// until polls a job until ok.
func until(t *testing.T, c *jobclient.Client, id, what string, ok func(*jobclient.Job) bool) *jobclient.Job {
	t.Helper()
	for end := time.Now().Add(limit); ; {
		j, err := c.Job(t.Context(), id)
		if err == nil && ok(j) {
			return j
		}
		if time.Now().After(end) {
			t.Fatalf("no %s: %+v %v", what, j, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func over(j *jobclient.Job) bool { return j.Over() }

func admin(t *testing.T, s *testkit.Server) *jobclient.Client {
	t.Helper()
	c := jobclient.New(s.Admin, "")
	t.Cleanup(c.Close)
	return c
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestJobKilled: a server that is killed again and again ends up with the output of an undisturbed run.
func TestJobKilled(t *testing.T) {
	t.Parallel()
	models, dir := jobFiles(t, 2, 4000)
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, "batch: {lease: 1s}\n")
	data := filepath.Join(dir, "data")
	start := func() *testkit.Server {
		return testkit.Serve(t, testkit.Options{Models: models, Data: data, Args: []string{"--config", conf}})
	}
	s := start()
	c := admin(t, s)
	plain := until(t, c, submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, filepath.Join(dir, "plain.csv"), false)}).ID, "end", over)
	if plain.State != "succeeded" || plain.Result.Rows != 8000 {
		t.Fatalf("%+v", plain)
	}
	j := submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, filepath.Join(dir, "hurt.csv"), false)})
	kills := 0
	for ; kills < 5; kills++ {
		began := until(t, c, j.ID, "row more", func(now *jobclient.Job) bool { return now.Over() || now.Progress.Rows > 0 && now.Progress.Rate > 0 })
		if began.Over() {
			break
		}
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
		s.Kill()
		s = start()
		c = admin(t, s)
	}
	hurt := until(t, c, j.ID, "end", over)
	if hurt.State != "succeeded" || hurt.Result.Rows != 8000 || kills == 0 || hurt.Progress.Attempts < 4 {
		t.Fatalf("after %d kills: %+v", kills, hurt)
	}
	if read(t, filepath.Join(dir, "hurt.csv")) != read(t, filepath.Join(dir, "plain.csv")) {
		t.Error("the output is not that of an undisturbed run")
	}
	if left, _ := filepath.Glob(filepath.Join(data, "jobs", j.ID, "work", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Logf("%d kills, %d attempts", kills, hurt.Progress.Attempts)
}

// TestJobShared: two servers on one PostgreSQL share a job; one of them is killed, and the other one ends it.
func TestJobShared(t *testing.T) {
	t.Parallel()
	db := testkit.Postgres(t)
	models, dir := jobFiles(t, 8, 1000)
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, fmt.Sprintf("store: %q\nbatch: {lease: 1s, dir: %q}\n", db.URL, filepath.Join(dir, "jobs")))
	start := func() *testkit.Server {
		return testkit.Serve(t, testkit.Options{Models: models, Args: []string{"--config", conf}})
	}
	one, two := start(), start()
	c := admin(t, one)
	out := filepath.Join(dir, "out")
	j := submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, out, true)})
	until(t, c, j.ID, "piece of each worker", func(*jobclient.Job) bool {
		lines, err := c.JobLog(t.Context(), j.ID, 0)
		workers := map[string]bool{}
		for _, l := range lines {
			if strings.HasPrefix(l.Text, "piece ") {
				workers[l.Worker] = true
			}
		}
		return err == nil && len(workers) == 2
	})
	two.Kill()
	end := until(t, c, j.ID, "end", over)
	if end.State != "succeeded" || end.Result.Rows != 8000 || len(end.Result.Files) != 8 {
		t.Fatalf("%+v %+v", end, end.Result)
	}
	for f := range 8 {
		lines := strings.Split(strings.TrimSpace(read(t, filepath.Join(out, fmt.Sprintf("part-%05d.csv", f+1)))), "\n")
		if len(lines) != 1001 || !strings.HasPrefix(lines[1000], fmt.Sprintf("%d-999,", f)) {
			t.Errorf("part %d: %d lines, the last one %q", f+1, len(lines), lines[len(lines)-1])
		}
	}
}

// TestJobControl: cancel, pause, expiry, a drain in the middle, what is refused, and a result that the server keeps.
func TestJobControl(t *testing.T) {
	t.Parallel()
	models, dir := jobFiles(t, 1, 4000)
	data := filepath.Join(dir, "data")
	s := testkit.Serve(t, testkit.Options{Models: models, Data: data})
	c := admin(t, s)
	running := func(now *jobclient.Job) bool { return now.State == "running" && now.Progress.Rows > 0 }
	j := submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, "", false), Key: "k"})
	until(t, c, j.ID, "start", running)
	if again := submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, "", false), Key: "k"}); again.ID != j.ID {
		t.Errorf("the same key made %s, and %s before", again.ID, j.ID)
	}
	if _, err := c.ChangeJob(t.Context(), j.ID, "pause"); err != nil {
		t.Fatal(err)
	}
	s.Term() // with the job in the middle
	if code := s.Wait(limit); code != 0 {
		t.Errorf("drain: exit code %d", code)
	}
	s = testkit.Serve(t, testkit.Options{Models: models, Data: data})
	c = admin(t, s)
	rows := until(t, c, j.ID, "pause", func(now *jobclient.Job) bool { return now.State == "paused" }).Progress.Rows
	if _, err := c.ChangeJob(t.Context(), j.ID, "resume"); err != nil || rows == 0 {
		t.Fatal(rows, err)
	}
	end := until(t, c, j.ID, "end", over)
	if end.State != "succeeded" || end.Result.Rows != 4000 {
		t.Fatalf("%+v", end)
	}
	var kept bytes.Buffer
	if err := c.JobResult(t.Context(), j.ID, end.Result.Files[0].Name, &kept); err != nil || strings.Count(kept.String(), "\n") != 4001 {
		t.Errorf("%d lines, %v", strings.Count(kept.String(), "\n"), err)
	}
	for what, id := range map[string]string{
		"cancelled": submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, filepath.Join(dir, "c.csv"), false)}).ID,
		"expired":   submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, filepath.Join(dir, "e.csv"), false), ExpiresIn: "1500ms", Priority: 1}).ID,
	} {
		if what == "cancelled" {
			if _, err := c.ChangeJob(t.Context(), id, "cancel"); err != nil {
				t.Fatal(err)
			}
		}
		if end := until(t, c, id, "end", over); end.State != what && (what != "expired" || end.State != "succeeded") { // a fast machine
			t.Errorf("%+v, want %s", end, what)
		}
	}
	if err := c.DeleteJob(t.Context(), j.ID); err != nil {
		t.Error(err)
	}
	if there, _ := filepath.Glob(filepath.Join(data, "jobs", j.ID)); len(there) > 0 {
		t.Error("a deleted job's files are still there")
	}
	refused(t, s, dir)
}

// refused: wrong requests are told what is wrong, and web pages of other sites nothing at all.
func refused(t *testing.T, s *testkit.Server, dir string) {
	t.Helper()
	for _, r := range []struct {
		method, path, body, says string
		status                   int
		header                   map[string]string
	}{
		{"POST", "/jobs", `{"job":{"model":"none","input":["` + dir + `/in"]}}`, "none", 404, nil},
		{"POST", "/jobs", `{"job":{"model":"sums","input":["in"]}}`, "absolute path", 400, nil},
		{"POST", "/jobs", `{"job":{"model":"sums","input":["` + dir + `/nothing"]}}`, "no such file", 404, nil},
		{"POST", "/jobs", `{"job":{"modle":"sums"}}`, "modle", 400, nil},
		{"POST", "/jobs", `{"job":{"model":"sums","input":["` + dir + `/in"]},"priority":10}`, "1 to 9", 400, nil},
		{"POST", "/jobs", `{`, "body", 400, nil},
		{"GET", "/jobs/job_none", "", "job_none", 404, nil},
		{"GET", "/jobs?state=done", "", "succeeded", 400, nil},
		{"PUT", "/jobs", "", "POST", 405, nil},
		{"POST", "/jobs", `{}`, "another site", 403, map[string]string{"Origin": "https://example.org", "Sec-Fetch-Site": "cross-site"}},
	} {
		req, err := http.NewRequest(r.method, "http://"+s.Admin+"/api/v1"+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range r.header {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != r.status || !strings.Contains(string(text), r.says) {
			t.Errorf("%s %s %s: %d %s", r.method, r.path, r.body, resp.StatusCode, text)
		}
	}
}
