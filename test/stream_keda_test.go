package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"serval/internal/testkit"
	"serval/wire/keda"
)

// TestStreamKEDA: KEDA's external scaler, by its own proto: each of two servers that share a topic says how much there is to do
// for both; with keys, only to those who have one.
func TestStreamKEDA(t *testing.T) {
	t.Parallel()
	const n = 400
	b := newBus(t, testkit.Kafka(t), "keda")
	file := b.config(t, rowsFormat, "paused: true")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keyed := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, keyed, string(text)+fmt.Sprintf("keys:\n  - {name: keda, hash: \"%s\", access: [read]}\n  - {name: ops, hash: \"%s\", access: [read, control]}\n", hashKey(t, "keda-key"), hashKey(t, "ops-key")))
	first := serveStream(t, true, streamModels(t), "", file)
	second := serveStream(t, true, streamModels(t), "", keyed)
	scaler := func(s *testkit.Server) keda.ExternalScalerClient {
		conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return keda.NewExternalScalerClient(conn)
	}
	one, two := scaler(first), scaler(second)
	ref := func(meta ...string) *keda.ScaledObjectRef {
		r := &keda.ScaledObjectRef{Name: "scores", Namespace: "models", ScalerMetadata: map[string]string{"scalerAddress": first.GRPC}}
		for i := 0; i < len(meta); i += 2 {
			r.ScalerMetadata[meta[i]] = meta[i+1]
		}
		return r
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	mine, theirs := ref("stream", "scores", "targetLag", "50"), ref("stream", "scores", "apiKeyFromEnv", "keda-key", "targetLag", "50")
	spec, err := one.GetMetricSpec(ctx, mine)
	if err != nil || len(spec.MetricSpecs) != 1 || spec.MetricSpecs[0].MetricName != "serval-stream-scores" || spec.MetricSpecs[0].TargetSizeFloat != 50 || spec.MetricSpecs[0].TargetSize != 50 {
		t.Fatalf("%v, %v", spec, err)
	}
	last := ""
	lag := func(c keda.ExternalScalerClient, r *keda.ScaledObjectRef) float64 {
		m, err := c.GetMetrics(ctx, &keda.GetMetricsRequest{ScaledObjectRef: r, MetricName: spec.MetricSpecs[0].MetricName})
		if err != nil {
			if last = err.Error(); ctx.Err() != nil {
				t.Fatal("the time is over: ", last)
			}
			return -1
		}
		return m.MetricValues[0].MetricValueFloat
	}
	defer func() {
		if t.Failed() {
			t.Log("the scaler's last error: " + last)
		}
	}()
	first.Await("a lag of 0", func() bool { return lag(one, mine) == 0 && lag(two, theirs) == 0 })
	active, err := one.StreamIsActive(ctx, mine) // not before the broker knows the group: that ends it
	if err != nil {
		t.Fatal(err)
	}
	next := func(want bool) {
		t.Helper()
		if got, err := active.Recv(); err != nil || got.Result != want {
			t.Fatalf("pushed: %v, %v; not %v", got, err, want)
		}
	}
	next(false)
	b.send(t, records(0, n)...)
	first.Await("the whole lag from both", func() bool { return lag(one, mine) == n && lag(two, theirs) == n })
	next(true)
	for activation, want := range map[string]bool{"0": true, "399": true, "400": false} {
		if a, err := one.IsActive(ctx, ref("stream", "scores", "activationLag", activation)); err != nil || a.Result != want {
			t.Errorf("activationLag %s: %v, %v", activation, a, err)
		}
	}
	ask(t, "POST", "http://"+first.Admin+"/api/v1/streams/scores/resume", "").want(t, 200)
	if out, errs, code := testkit.Run(ctx, t, "stream", "resume", "scores", "--admin", second.Admin, "--key", "ops-key"); code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	first.Await("an end", func() bool { return lag(one, mine) == 0 && lag(two, theirs) == 0 })
	next(false)
	for _, c := range []struct {
		client keda.ExternalScalerClient
		ref    *keda.ScaledObjectRef
		code   codes.Code
		says   string
	}{
		{one, ref(), codes.InvalidArgument, "no 'stream'"},
		{one, ref("stream", "nothing"), codes.NotFound, "there is no stream 'nothing'"},
		{one, ref("stream", "scores", "targetLag", "0"), codes.InvalidArgument, "targetLag"},
		{one, ref("stream", "scores", "activationLag", "many"), codes.InvalidArgument, "activationLag"},
		{two, ref("stream", "scores"), codes.Unauthenticated, "apiKeyFromEnv"},
		{two, ref("stream", "scores", "apiKey", "wrong"), codes.Unauthenticated, "not known"},
	} {
		_, err := c.client.IsActive(ctx, c.ref)
		if st := status.Convert(err); st.Code() != c.code || !strings.Contains(st.Message(), c.says) {
			t.Errorf("%v: %v; it must be %v and say %q", c.ref, err, c.code, c.says)
		}
	}
	first.Term() // an open push must not hold it up
	if code := first.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := active.Recv(); err == nil {
		t.Error("the push goes on after the server's end")
	}
}
