package test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	jobclient "serval/client"
	"serval/internal/testkit"
)

// jumps are how a clock jumps in these tests: ahead, and behind what it was.
var jumps = []time.Duration{2 * time.Hour, -3 * time.Hour}

// TestClockConnection: what was open before the clock jumped goes on after it, longer than a client may take to take in an answer.
func TestClockConnection(t *testing.T) {
	t.Parallel()
	models, dir := jobFiles(t, 0, 0)
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, "limits: {body_timeout: 1s}\n")
	s := testkit.Serve(t, testkit.Options{Models: models, Args: []string{"--config", conf}})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: limit}
	made := 0
	infer := func() error { // a POST is not tried again by itself
		trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if !i.Reused {
				made++
			}
		}}
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "POST", s.URL("/v2/models/sums/infer"),
			strings.NewReader(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %w", resp.Status, err)
		}
		return nil
	}
	grpc := rpc(t, s)
	overGRPC := func() error {
		_, err := grpc.ModelInfer(t.Context(), inferRequest("sums", fp32("x", []int64{1, 2}, 1, 2)))
		return err
	}
	if err := errors.Join(infer(), overGRPC()); err != nil {
		t.Fatal(err)
	}
	for _, d := range jumps {
		s.Jump(d)
		time.Sleep(1500 * time.Millisecond) // the deadline from before the jump passes
		if err := errors.Join(infer(), overGRPC()); err != nil {
			t.Errorf("after a jump by %v: %v", d, err)
		}
	}
	if made != 1 {
		t.Errorf("%d connections were made, want one", made)
	}
}

// TestClockKey: a jump gives a key nothing that it has not waited for, and takes nothing away.
func TestClockKey(t *testing.T) {
	t.Parallel()
	models, dir := jobFiles(t, 0, 0)
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, fmt.Sprintf("keys:\n  - {name: slow, hash: %q, limits: {rate: 0.001, burst: 2}}\n  - {name: fast, hash: %q, limits: {rate: 20, burst: 2}}\n", hashKey(t, "slow"), hashKey(t, "fast")))
	s := testkit.Serve(t, testkit.Options{Models: models, Args: []string{"--config", conf}})
	infer := func(key string) answer {
		return ask(t, "POST", s.URL("/v2/models/sums/infer"), `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`, "Authorization", "Bearer "+key)
	}
	for range 2 {
		if a := infer("slow"); a.code != 200 {
			t.Fatalf("%+v", a)
		}
	}
	for _, d := range append([]time.Duration{0}, jumps...) {
		s.Jump(d)
		a := infer("slow")
		wait, err := strconv.Atoi(a.header.Get("Retry-After"))
		if a.code != http.StatusTooManyRequests || err != nil || wait < 500 || wait > 1000 {
			t.Errorf("after a jump by %v: %d, to come again in %ds (%v)", d, a.code, wait, err)
		}
		for range 3 {
			infer("fast")
		}
		s.Await("a request of a fast key", func() bool { return infer("fast").code == 200 })
	}
}

// TestClockJob: a job's output is that of an undisturbed one though the clock jumps while it runs, and none of its pieces is taken from
// the worker that is at it. One that is killed, and whose lease ends hours from now after a jump back, loses it within bounded time.
func TestClockJob(t *testing.T) {
	t.Parallel()
	models, dir := jobFiles(t, 2, 2000)
	conf := filepath.Join(dir, "serval.yaml")
	write(t, conf, "batch: {lease: 2s}\n")
	data := filepath.Join(dir, "data")
	start := func() (*testkit.Server, *jobclient.Client) {
		s := testkit.Serve(t, testkit.Options{Models: models, Data: data, Args: []string{"--config", conf}})
		return s, admin(t, s)
	}
	s, c := start()
	plain := until(t, c, submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, filepath.Join(dir, "plain.csv"), false)}).ID, "end", over)
	if plain.State != "succeeded" || plain.Result.Rows != 4000 {
		t.Fatalf("%+v", plain)
	}
	more := func(id string, than int64) int64 {
		now := until(t, c, id, "row more", func(j *jobclient.Job) bool { return j.Over() || j.Progress.Rows > than })
		if now.Over() {
			t.Fatalf("it ended too early: %+v", now)
		}
		return now.Progress.Rows
	}
	j := submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, filepath.Join(dir, "jumps.csv"), false)})
	rows := more(j.ID, 0)
	for _, d := range jumps {
		s.Jump(d)
		rows = more(j.ID, rows)
	}
	if end := until(t, c, j.ID, "end", over); end.State != "succeeded" || end.Result.Rows != 4000 || end.Progress.Attempts != plain.Progress.Attempts {
		t.Errorf("%+v; undisturbed %+v", end, plain)
	}
	same := func(name string) {
		if read(t, filepath.Join(dir, name)) != read(t, filepath.Join(dir, "plain.csv")) {
			t.Errorf("%s is not the output of an undisturbed run", name)
		}
	}
	same("jumps.csv")

	// The clock is two hours ahead by now; the next server has the true time, three hours behind.
	s.Jump(4 * time.Hour)
	j = submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, filepath.Join(dir, "killed.csv"), false)})
	given := submit(t, c, &jobclient.Submission{Job: rowsSpec(dir, filepath.Join(dir, "given.csv"), false)})
	more(j.ID, 0)
	more(given.ID, 0)
	s.Kill()
	_, c = start()
	if _, err := c.ChangeJob(t.Context(), given.ID, "cancel"); err != nil {
		t.Fatal(err)
	}
	if end := until(t, c, given.ID, "end of one that was given up", over); end.State != "cancelled" {
		t.Errorf("%+v", end)
	}
	if end := until(t, c, j.ID, "end after a kill", over); end.State != "succeeded" || end.Result.Rows != 4000 {
		t.Errorf("%+v", end)
	}
	same("killed.csv")
}
