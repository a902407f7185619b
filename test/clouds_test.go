package test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"serval/internal/testkit"
)

// cloudStore is a server of Google's or Azure's kind, and how the program is told of it.
type cloudStore struct {
	store interface {
		Put(key, data string)
		Get(key string) string
		List(prefix string) []string
	}
	at            string   // gs://rows/
	env           []string // of the command line
	place, target string   // settings of batch.places, and of a stream's target
	secret        string
}

func cloudStores(t *testing.T) []cloudStore {
	g, a := testkit.GCS(t), testkit.Azure(t)
	return []cloudStore{
		{g, "gs://" + g.Name + "/", []string{"STORAGE_EMULATOR_HOST", strings.TrimPrefix(g.Endpoint, "http://")}, fmt.Sprintf("endpoint: %q, anonymous: true", g.Endpoint),
			fmt.Sprintf("gcs: {endpoint: %q, anonymous: true}", g.Endpoint), "no secret"},
		{a, "azblob://" + a.Name + "/", []string{"AZURE_STORAGE_CONNECTION_STRING", a.Connection()}, fmt.Sprintf("endpoint: %q, account: %s, account_key: %q", a.Endpoint, a.Account, a.Key),
			fmt.Sprintf("azure: {endpoint: %q, account: %s, account_key: %q}", a.Endpoint, a.Account, a.Key), a.Key},
	}
}

// TestCloudBatch has the command line ask about a table from a file into a store, within it, and out of it: what a job from file to
// file gives.
func TestCloudBatch(t *testing.T) {
	dir, m := t.TempDir(), models(t)
	in, plain := filepath.Join(m, "credit", "applicants.csv"), filepath.Join(dir, "plain.csv")
	job := func(in, out string, more ...string) said {
		t.Helper()
		return run(t, append([]string{"batch", "run", "credit", "-i", in, "-o", out, "--models", m, "--data", filepath.Join(dir, "data")}, more...)...)
	}
	job(in, plain).want(t, 0, "5 rows")
	for i, c := range cloudStores(t) {
		t.Setenv(c.env[0], c.env[1])
		last := filepath.Join(dir, fmt.Sprintf("%d.csv", i))
		job(in, c.at+"scores/a.parquet", "--passthrough", "all", "--want", "risk").want(t, 0, "5 rows")
		job(c.at+"scores/*.parquet", c.at+"scores/a.parquet", "--passthrough", "all", "--want", "risk").want(t, 1, "--restart")
		job(c.at+"scores/*.parquet", c.at+"b c.csv", "--passthrough", "all", "--want", "default_probability").want(t, 0, "5 rows")
		job(c.at+"b c.csv", last, "--passthrough", "applicant").want(t, 0, "5 rows")
		if got, want := read(t, last), read(t, plain); got != want {
			t.Errorf("by %s:\n%s\nfrom file to file:\n%s", c.at, got, want)
		}
		if said := job(c.at+"none.parquet", last, "--restart"); said.code != 1 || !strings.Contains(said.errs, "no such object") || strings.Contains(said.errs, c.secret) {
			t.Errorf("an object that is not there: exit code %d, %s", said.code, said.errs)
		}
	}
}

// TestCloudServer: one server, and in each store a trigger that makes a job of what appears, and a stream that writes files.
func TestCloudServer(t *testing.T) {
	t.Parallel()
	const n = 200
	models, dir := jobFiles(t, 1, 30)
	copyFile(t, filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt"), filepath.Join(models, "tree", "1", "model.txt"))
	table := read(t, filepath.Join(dir, "in", "0.csv"))
	stores, bus := cloudStores(t), free(t)
	embedded := `embedded: {listen: "` + bus + `", user: alice, password: secret}`
	var places, schedules, streams strings.Builder
	for i, c := range stores {
		fmt.Fprintf(&places, "    - {at: %s, write: true, %s}\n", strings.TrimSuffix(c.at, "/"), c.place)
		fmt.Fprintf(&schedules, "    arrivals%d:\n      {watch: %sin/, every: 1s, settle: 0s, existing: true, job: {model: sums, output: \"%sout/{stem}-scored.csv\", map: {x: [a, b]}, passthrough: [id]}}\n", i, c.at, c.at)
		fmt.Fprintf(&streams, "  lake%d:\n    model: tree\n    source: {nats: {stream: applicants, consumer: lake%d, %s}}\n    target: {files: {path: \"%slake/{stream}\", format: jsonl, roll_every: 200ms, %s}}\n    %s\n",
			i, i, embedded, c.at, c.target, rowsFormat)
		c.store.Put("in/before.csv", table)
	}
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, "batch:\n  places:\n"+places.String()+"  schedules:\n"+schedules.String()+"streams:\n"+streams.String())
	s := testkit.Serve(t, testkit.Options{Models: models, Args: []string{"--config", conf}})
	js := natsClient(t, bus, natsgo.UserInfo("alice", "secret"))
	natsSend(t, js, "applicants", 0, n)
	for _, c := range stores {
		c.store.Put("in/after.csv", table)
		want := []string{"out/after-scored.csv", "out/before-scored.csv"}
		awaits(t, c.at+"out/", func() bool { return slices.Equal(c.store.List("out/"), want) })
		for _, key := range want {
			if text := c.store.Get(key); strings.Count(text, "\n") != 31 || !strings.HasPrefix(text, "id,y") {
				t.Errorf("%s%s: %.200q", c.at, key, text)
			}
		}
	}
	for i, c := range stores {
		reaches(t, s, "serval_stream_written_total", n, fmt.Sprintf(`stream="lake%d"`, i))
		lake := t.TempDir()
		for j, key := range c.store.List("lake/") {
			write(t, filepath.Join(lake, fmt.Sprint(j)), c.store.Get(key))
		}
		if scores, dead := lakeScores(t, lake); len(scores) != n || len(dead) > 0 {
			t.Errorf("%slake/ has %d rows of %d, and %d dead letters", c.at, len(scores), n, len(dead))
		}
	}
	if said := s.Log(); strings.Contains(said, stores[1].secret) {
		t.Error("the log shows a key")
	}
}
