package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jobclient "serval/client"
	"serval/internal/testkit"
)

// awaits polls until ok.
func awaits(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// TestSchedules: two servers on one PostgreSQL make one job of each file that appears, and of each time, as the configuration and the
// command line ask for.
func TestSchedules(t *testing.T) {
	t.Parallel()
	db := testkit.Postgres(t)
	models, dir := jobFiles(t, 1, 20)
	for _, name := range []string{"drop", "more", "out"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	table := read(t, filepath.Join(dir, "in", "0.csv"))
	write(t, filepath.Join(dir, "drop", "before.csv"), table)
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, fmt.Sprintf(`
store: %q
batch:
  lease: 1s
  dir: %q
  files: [%q]
  schedules:
    arrivals:
      watch: %q
      every: 1s
      settle: 1s
      job: {model: sums, output: %q, map: {x: [a, b]}, passthrough: [id]}
`, db.URL, filepath.Join(dir, "jobs"), dir, filepath.Join(dir, "drop"), filepath.Join(dir, "out", "{stem}-scored.csv")))
	start := func() *testkit.Server {
		return testkit.Serve(t, testkit.Options{Models: models, Args: []string{"--config", conf}})
	}
	one, two := start(), start()
	c, d := admin(t, one), admin(t, two)
	cli := func(args ...string) said {
		t.Helper()
		return run(t, append(append([]string{"batch", "schedule"}, args...), "--admin", one.Admin)...)
	}
	cli("create", "often", "sums", "--cron", "0 4 * * *", "--zone", "Europe/Berlin", "-i", filepath.Join(dir, "in"), "-o", filepath.Join(dir, "out", "{date}.csv"), "--map", "x=a,b").want(t, 0, "next ")
	cli("create", "more", "sums", "--watch", filepath.Join(dir, "more"), "--settle", "0s", "--every", "1s", "-o", filepath.Join(dir, "out", "more-{name}"), "--map", "x=a,b").want(t, 0, "watches")
	cli("create", "often", "sums", "--cron", "@daily", "-i", filepath.Join(dir, "in")).want(t, 1, "already")
	cli("create", "bad", "sums", "--cron", "@daily", "-i", "/etc/passwd").want(t, 1, "may not be read")
	cli("create", "bad", "sums", "--cron", "61 * * * *", "-i", filepath.Join(dir, "in")).want(t, 1, "cron")
	cli("list").want(t, 0, "arrivals", "0 4 * * * Europe/Berlin", "more")
	cli("delete", "arrivals").want(t, 1, "configuration")
	cli("run", "often").want(t, 0, "queued")
	for i := range 5 {
		write(t, filepath.Join(dir, "drop", fmt.Sprintf("%d.csv", i)), table)
		write(t, filepath.Join(dir, "more", fmt.Sprintf("%d.csv", i)), table)
	}
	jobs := func(c *jobclient.Client) []jobclient.Job {
		t.Helper()
		list, err := c.Jobs(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	ended := func(c *jobclient.Client, n int) func() bool {
		return func() bool {
			list := jobs(c)
			return len(list) >= n && !slices.ContainsFunc(list, func(j jobclient.Job) bool { return !j.Over() })
		}
	}
	awaits(t, "11 jobs that have ended", ended(c, 11))
	one.Kill()
	one = start() // and what was taken is not taken again
	c = admin(t, one)
	write(t, filepath.Join(dir, "drop", "last.csv"), table)
	awaits(t, "the last file's job", ended(d, 12))
	made := map[string]int{}
	for _, j := range jobs(c) {
		made[j.Name]++
		if j.State != "succeeded" {
			t.Errorf("%s is %s: %s", j.Name, j.State, j.Reason)
		}
	}
	if fmt.Sprint(made) != "map[arrivals:6 more:5 often:1]" {
		t.Errorf("made %v", made)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "out", "*.csv"))
	if len(files) != 12 || strings.Count(read(t, filepath.Join(dir, "out", "3-scored.csv")), "\n") != 21 {
		t.Errorf("outputs: %v", files)
	}
	cli("delete", "more").want(t, 0)
	cli("delete", "more").want(t, 1, "there is no schedule")
}
