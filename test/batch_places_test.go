package test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// TestBatchPlaces has one table answered from every place to every place that README names: the web, S3 as Parquet, PostgreSQL, a
// file. Each step keeps all columns, so that the next one can ask again, and the last is what a job from file to file gives.
func TestBatchPlaces(t *testing.T) {
	dir, m := t.TempDir(), models(t)
	in := filepath.Join(m, "credit", "applicants.csv")
	web := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(in))))
	defer web.Close()
	bucket, db := testkit.S3(t), testkit.Postgres(t)
	t.Setenv("AWS_ACCESS_KEY_ID", bucket.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", bucket.SecretKey)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	object := "s3://" + bucket.Name + "/scores/a.parquet?region=" + bucket.Region + "&endpoint=" + url.QueryEscape(bucket.Endpoint)
	table := db.URL + "&table=scores&key=applicant"
	job := func(in, out string, more ...string) said {
		t.Helper()
		return run(t, append([]string{"batch", "run", "credit", "-i", in, "-o", out, "--models", m, "--data", filepath.Join(dir, "data")}, more...)...)
	}
	read := func(path string) string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}

	plain, last := filepath.Join(dir, "plain.csv"), filepath.Join(dir, "last.csv")
	job(in, plain).want(t, 0, "5 rows")
	job(web.URL+"/applicants.csv", object, "--passthrough", "all", "--want", "risk").want(t, 0, "5 rows")
	job(object, object, "--passthrough", "all", "--want", "risk").want(t, 1, "--restart")
	job(object, table, "--passthrough", "all", "--want", "default_probability").want(t, 0, "5 rows")
	job(table, last, "--passthrough", "applicant").want(t, 0, "5 rows")
	if got, want := read(last), read(plain); got != want {
		t.Errorf("by the web, S3 and PostgreSQL:\n%s\nfrom file to file:\n%s", got, want)
	}
	job(table, last, "--restart", "--want", "probability").want(t, 1, "no output 'probability'", "'default_probability'")
	if said := job(strings.Replace(object, "a.parquet", "none.parquet", 1), last, "--restart"); said.code != 1 || strings.Contains(said.errs, bucket.SecretKey) {
		t.Errorf("an object that is not there: exit code %d, %s", said.code, said.errs)
	}
}
