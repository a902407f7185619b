package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	jobclient "serval/client"
	"serval/internal/testkit"
)

// TestJobPlaces has a server's jobs go where its configuration lets them, from every kind of place to every kind, and shows that
// nobody sees the keys.
func TestJobPlaces(t *testing.T) {
	t.Parallel()
	models, dir := jobFiles(t, 1, 300)
	bucket, db := testkit.S3(t), testkit.Postgres(t)
	asked := ""
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("signature")
		http.ServeFile(w, r, filepath.Join(dir, "in", "0.csv"))
	}))
	defer web.Close()
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, fmt.Sprintf(`
batch:
  files: [%q]
  places:
    - {at: %q, private: true}
    - {at: s3://%s/open, write: true, endpoint: %q, region: %q, access_key: "${BUCKET_KEY}", secret_key: "${BUCKET_SECRET}"}
    - {at: s3://%s/closed, write: true, tenants: [other]}
    - {at: postgres://warehouse, url: "${WAREHOUSE}", tables: [sums*], write: true}
`, dir, web.URL+"/sets", bucket.Name, bucket.Endpoint, bucket.Region, bucket.Name))
	s := testkit.Serve(t, testkit.Options{Models: models, Args: []string{"--config", conf},
		Env: []string{"BUCKET_KEY=" + bucket.AccessKey, "BUCKET_SECRET=" + bucket.SecretKey, "WAREHOUSE=" + db.URL, "AWS_EC2_METADATA_DISABLED=true"}})
	c := admin(t, s)
	spec := func(in, out string, more map[string]any) json.RawMessage {
		m := map[string]any{"model": "sums", "input": []string{in}, "output": out, "map": map[string][]string{"x": {"a", "b"}}, "passthrough": []string{"id", "a", "b"}}
		for name, value := range more {
			m[name] = value
		}
		raw, _ := json.Marshal(m) // plain data
		return raw
	}
	job := func(in, out string, more map[string]any) *jobclient.Job {
		t.Helper()
		j := until(t, c, submit(t, c, &jobclient.Submission{Job: spec(in, out, more)}).ID, "end", over)
		if j.State != "succeeded" || j.Result.Rows != 300 {
			t.Fatalf("%s to %s: %+v", in, out, j)
		}
		return j
	}
	open := "s3://" + bucket.Name + "/open/"
	plain, last := filepath.Join(dir, "plain.csv"), filepath.Join(dir, "last.csv")
	job(filepath.Join(dir, "in"), plain, nil)
	signed := job(web.URL+"/sets/0.csv?signature=hush", open+"a.parquet", map[string]any{"input_format": "csv"})
	if asked != "hush" || strings.Contains(string(signed.Job), "hush") || !strings.Contains(string(signed.Job), "?…") {
		t.Errorf("a signed address: asked with %q, shown as %s", asked, signed.Job)
	}
	job(open+"a.parquet", "postgres://warehouse?table=sums", map[string]any{"want": []string{"y"}})
	job("postgres://warehouse?table=sums&key=id", open+"kept/b c.csv", map[string]any{"rows": 64})
	job(open+"kept/", last, nil)
	sorted := func(path string) []string { // PostgreSQL gave the rows by their key
		lines := strings.Split(strings.TrimSpace(read(t, path)), "\n")
		slices.Sort(lines)
		return lines
	}
	if got, want := sorted(last), sorted(plain); !slices.Equal(got, want) {
		t.Errorf("by the web, S3 and PostgreSQL %.3q, from file to file %.3q", got, want)
	}
	for _, r := range []refusal{
		{"s3://" + bucket.Name + "/closed/a.csv", plain, "may not be read", 403},
		{plain, "s3://" + bucket.Name + "/closed/a.csv", "may not be written", 403},
		{"s3://" + bucket.Name + "/open/a.parquet?endpoint=http://127.0.0.1:1", plain, "batch.places", 400},
		{web.URL + "/else.csv", plain, "may not be read", 403},
		{"http://169.254.169.254/latest/meta-data/", plain, "may not be read", 403},
		{db.URL + "&table=sums", plain, "batch.places", 400},
		{"postgres://warehouse?table=users", plain, "not one of", 403},
		{"postgres://warehouse?query=SELECT+1", plain, "not allowed", 403},
		{"/etc/passwd", plain, "may not be read", 403},
		{plain, "/etc/scores.csv", "may not be written", 403},
		{open + "a.parquet", open + "a.parquet", "restart", 409},
	} {
		r.check(t, s, spec(r.in, r.out, nil), bucket.SecretKey)
	}
	if said := s.Log(); strings.Contains(said, bucket.SecretKey) || strings.Contains(said, "hush") {
		t.Error("the log shows a secret")
	}
}

// refusal is a job that is refused.
type refusal struct {
	in, out, says string
	status        int
}

// check submits it: the answer says why, and nothing secret.
func (r *refusal) check(t *testing.T, s *testkit.Server, spec json.RawMessage, secret string) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"job": spec}) // plain data
	resp, err := http.Post("http://"+s.Admin+"/api/v1/jobs", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != r.status || !strings.Contains(string(text), r.says) || strings.Contains(string(text), secret) {
		t.Errorf("%s to %s: %d %s", r.in, r.out, resp.StatusCode, text)
	}
}

// TestJobShelf: two servers that share nothing but a PostgreSQL and a bucket do one job together, and either gives the result.
func TestJobShelf(t *testing.T) {
	t.Parallel()
	bucket, db := testkit.S3(t), testkit.Postgres(t)
	models, dir := jobFiles(t, 6, 400)
	in := filepath.Join(bucket.Dir, "in")
	if err := os.Rename(filepath.Join(dir, "in"), in); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, fmt.Sprintf("store: %q\nbatch:\n  lease: 1s\n  dir: s3://%s/jobs\n  places: [{at: s3://%s/, write: true, endpoint: %q, region: %q, access_key: %s, secret_key: %s}]\n",
		db.URL, bucket.Name, bucket.Name, bucket.Endpoint, bucket.Region, bucket.AccessKey, bucket.SecretKey))
	start := func() *testkit.Server {
		return testkit.Serve(t, testkit.Options{Models: models, Args: []string{"--config", conf}, Env: []string{"AWS_EC2_METADATA_DISABLED=true"}})
	}
	one, two := start(), start()
	c, d := admin(t, one), admin(t, two)
	ask := func(in, output, keep string, split bool, parts int) json.RawMessage {
		raw, _ := json.Marshal(map[string]any{"model": "sums", "input": []string{"s3://" + bucket.Name + in}, "output": output, "split": split, "parts": parts,
			"map": map[string][]string{"x": {"a", "b"}}, "passthrough": []string{keep}, "rows": 16, "parallel": 1}) // plain data
		return raw
	}
	j := submit(t, c, &jobclient.Submission{Job: ask("/in/", "s3://"+bucket.Name+"/out", "id", true, 0)})
	kept := submit(t, c, &jobclient.Submission{Job: ask("/in/", "", "id", true, 0)})
	uploaded := submit(t, c, &jobclient.Submission{Job: ask("/in/3.csv", "s3://"+bucket.Name+"/up.csv", "all", false, 0)})
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
	for _, id := range []string{j.ID, kept.ID} {
		if end := until(t, c, id, "end", over); end.State != "succeeded" || end.Result.Rows != 2400 || len(end.Result.Files) != 6 {
			t.Fatalf("%+v %+v", end, end.Result)
		}
	}
	for f := range 6 {
		name := fmt.Sprintf("part-%05d.csv", f+1)
		var fetched [2]strings.Builder
		for i, from := range []*jobclient.Client{c, d} {
			if err := from.JobResult(t.Context(), kept.ID, name, &fetched[i]); err != nil {
				t.Fatal(err)
			}
		}
		if text := read(t, filepath.Join(bucket.Dir, "out", name)); strings.Count(text, "\n") != 401 || text != fetched[0].String() || text != fetched[1].String() {
			t.Errorf("%s: %d lines, %d and %d", name, strings.Count(text, "\n"), strings.Count(fetched[0].String(), "\n"), strings.Count(fetched[1].String(), "\n"))
		}
	}
	until(t, c, uploaded.ID, "end", over)
	cut := submit(t, c, &jobclient.Submission{Job: ask("/up.csv", "s3://"+bucket.Name+"/one.csv", "id", false, 5)}) // one file, of which both have parts
	if end := until(t, c, cut.ID, "end", over); end.State != "succeeded" || end.Progress.Pieces != 5 || len(end.Result.Files) != 1 ||
		read(t, filepath.Join(bucket.Dir, "one.csv")) != read(t, filepath.Join(bucket.Dir, "out", "part-00004.csv")) {
		t.Errorf("a file in parts: %+v %+v", end, end.Result)
	}
	if left, _ := filepath.Glob(filepath.Join(bucket.Dir, "jobs", cut.ID, "*part-*csv")); len(left) > 0 {
		t.Errorf("the parts are still there: %v", left)
	}
	if err := d.DeleteJob(t.Context(), kept.ID); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(bucket.Dir, "jobs", kept.ID, "*")); len(left) > 0 {
		t.Errorf("a deleted job's files are still there: %v", left)
	}
}
