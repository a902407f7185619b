package testkit

import (
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// What was committed is there after a crash.
func TestPostgres(t *testing.T) {
	d := Postgres(t)
	psql := func(sql string) string {
		out, err := exec.Command("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, d.URL).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", sql, err, out)
		}
		return string(out)
	}
	psql("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2)")
	d.Kill()
	d.Start()
	if got := psql("SELECT count(*) FROM t"); got != "2\n" {
		t.Errorf("after a crash there are %s rows of 2", got)
	}
}

// The stores of the other clouds have their bucket, keep what was written when they end, and ask for keys where they have some.
func TestClouds(t *testing.T) {
	g, a := GCS(t), Azure(t)
	for what, c := range map[string]interface {
		Put(key, data string)
		Get(key string) string
		List(prefix string) []string
		Stop()
		Start()
	}{"gs": g, "azblob": a} {
		if got := c.List(""); len(got) != 0 {
			t.Errorf("%s: it has %q", what, got)
		}
		c.Put("in/b 1", "text")
		c.Put("a", "")
		c.Stop()
		c.Start()
		if got := c.List("in/"); len(got) != 1 || got[0] != "in/b 1" || c.Get("in/b 1") != "text" {
			t.Errorf("%s: it has %q", what, got)
		}
	}
	r, err := http.Get(a.Endpoint + "/" + a.Name + "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode < http.StatusBadRequest {
		t.Errorf("a request without a signature is answered with %s", r.Status)
	}
}

func TestS3(t *testing.T) {
	b := S3(t)
	if info, err := os.Stat(b.Dir); err != nil || !info.IsDir() {
		t.Fatalf("the bucket's folder: %v", err)
	}
	r, err := http.Get(b.Endpoint + "/" + b.Name + "/nothing")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("a request without a signature is answered with %s", r.Status)
	}
}
