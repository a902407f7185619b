package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serval/internal/testkit"
	"serval/wire/inference"
)

// hashKey is what serval.yaml says of a key, by the command that makes it.
func hashKey(t *testing.T, key string) string {
	t.Helper()
	out, errs, code := testkit.RunIn(t.Context(), t, key+"\n", "config", "hash-key")
	if code != 0 || !strings.HasPrefix(out, "sha256:") {
		t.Fatalf("config hash-key: %d %q %s", code, out, errs)
	}
	return strings.TrimSpace(out)
}

// TestKeys serves with API keys: who may do what, over REST and gRPC, and what a key's rate does.
func TestKeys(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "labelled/1/model.fake"), written["labelled/1/model.fake"])
	conf := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, conf, fmt.Sprintf(`keys:
  - {name: ann, hash: "%s"}
  - {name: ops, hash: "%s", access: [infer, read, control]}
  - {name: monitor, hash: "%s", access: [read]}
  - {name: slow, hash: "%s", limits: {rate: 0.001, burst: 2}}
limits: {max_body: 1MiB}
`, hashKey(t, "ann-key"), hashKey(t, "ops-key"), hashKey(t, "monitor-key"), hashKey(t, "slow-key")))
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Args: []string{"--config", conf}})

	const infer, unload = "/v2/models/labelled/infer", "/v2/repository/models/labelled/unload"
	for _, c := range []struct {
		key, method, path string
		code              int
		words             []string
	}{
		{"", "POST", infer, 401, []string{"API key", "Authorization: Bearer"}},
		{"nobody", "POST", infer, 401, []string{"key"}},
		{"", "GET", "/v2/models/labelled", 401, []string{"API key"}},
		{"", "POST", unload, 401, []string{"API key"}},
		{"", "POST", "/v1/models/labelled:predict", 401, []string{"API key"}},
		{"monitor-key", "POST", infer, 403, []string{"'monitor'", "infer"}},
		{"ann-key", "POST", unload, 403, []string{"'ann'", "control"}},
		{"ann-key", "POST", "/v2/logging", 403, []string{"'ann'", "control"}},
		{"ann-key", "POST", "/v2/models/nobody/infer", 404, []string{"'nobody'"}},
		{"", "GET", "/nowhere", 404, []string{"/nowhere"}},
	} {
		var headers []string
		if c.key != "" {
			headers = []string{"Authorization", "Bearer " + c.key}
		}
		body := row
		if strings.HasPrefix(c.path, "/v1") {
			body = `{"instances":[[1,2,3,4]]}`
		}
		t.Run(c.key+" "+c.method+" "+c.path, func(t *testing.T) {
			ask(t, c.method, s.URL(c.path), body, headers...).wantError(t, c.code, c.words...)
		})
	}
	bearer := func(key string) []string { return []string{"Authorization", "Bearer " + key} }
	ask(t, "GET", s.URL("/v2/health/live"), "").want(t, 200)
	ask(t, "GET", s.URL("/v2/health/ready"), "").want(t, 200)
	ask(t, "POST", s.URL(infer), row, bearer("ann-key")...).want(t, 200, `"y"`)
	ask(t, "POST", s.URL(infer), row, "X-Api-Key", "ann-key").want(t, 200, `"y"`)
	ask(t, "GET", s.URL("/v2/models/labelled"), "", bearer("monitor-key")...).want(t, 200, `"labelled"`)
	ask(t, "POST", s.URL(infer), strings.Repeat(" ", 1<<20+1), bearer("ann-key")...).wantError(t, 413, "1048576")

	t.Run("rate", func(t *testing.T) {
		for range 2 {
			ask(t, "POST", s.URL(infer), row, bearer("slow-key")...).want(t, 200)
		}
		a := ask(t, "POST", s.URL(infer), row, bearer("slow-key")...)
		a.wantError(t, 429, "'slow'", "requests")
		if a.header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		ask(t, "POST", s.URL(infer), row, bearer("ann-key")...).want(t, 200) // another key's limit is its own
	})

	t.Run("grpc", func(t *testing.T) {
		client := rpc(t, s)
		as := func(key string) (codes.Code, string) {
			ctx := t.Context()
			if key != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
			}
			_, err := client.ModelInfer(ctx, inferRequest("labelled", fp32("x", []int64{1, 4}, 1, 2, 3, 4)))
			return status.Code(err), status.Convert(err).Message()
		}
		for key, want := range map[string]codes.Code{"": codes.Unauthenticated, "nobody": codes.Unauthenticated, "monitor-key": codes.PermissionDenied,
			"ann-key": codes.OK, "slow-key": codes.ResourceExhausted} {
			if code, message := as(key); code != want || message == "" && code != codes.OK {
				t.Errorf("key %q: %v %q, want %v", key, code, message, want)
			}
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-api-key", "ann-key")
		_, err := client.RepositoryModelUnload(ctx, &inference.RepositoryModelUnloadRequest{ModelName: "labelled"})
		wantStatus(t, err, codes.PermissionDenied, "'ann'", "control")
		_, err = client.ModelMetadata(t.Context(), &inference.ModelMetadataRequest{Name: "labelled"})
		wantStatus(t, err, codes.Unauthenticated, "API key")
		if live, err := client.ServerLive(t.Context(), &inference.ServerLiveRequest{}); err != nil || !live.Live {
			t.Errorf("live: %v, %v", live, err)
		}
	})

	t.Run("log", func(t *testing.T) {
		s.Await("the access log's line", func() bool { return strings.Contains(s.Log(), "tenant=ann") })
		if log := s.Log(); strings.Contains(log, "ann-key") || strings.Contains(log, "slow-key") {
			t.Error("a key stands in the log")
		}
	})
	ask(t, "POST", s.URL(unload), "", bearer("ops-key")...).want(t, 200)
	ask(t, "POST", s.URL(infer), row, bearer("ann-key")...).wantError(t, 503, "'labelled'", "unloaded")
}

// TestOverload fills a model's short queue, and the server's limit of requests: what is refused is refused at once, with
// 503 and when to come again, and all others are answered.
func TestOverload(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "slow/1/model.fake"), written["slow/1/model.fake"])
	write(t, filepath.Join(root, "slow/model.yaml"), "queue: {limit: 2}\ninstances: 1\nbatching: {mode: off}\n")
	write(t, filepath.Join(root, "other/1/model.fake"), written["slow/1/model.fake"])
	conf := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, conf, "limits: {max_in_flight: 20}\n")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Args: []string{"--config", conf}})
	client := rpc(t, s)

	flood := func(n int, call func() (code int, message string, retry bool)) map[int]int {
		codes, mu, all := map[int]int{}, sync.Mutex{}, sync.WaitGroup{}
		for range n {
			all.Go(func() {
				code, message, retry := call()
				mu.Lock()
				defer mu.Unlock()
				codes[code]++
				if code == 503 && (!retry || !strings.Contains(message, "try again")) {
					t.Errorf("refused without saying when to come again: %q", message)
				}
			})
		}
		all.Wait()
		return codes
	}
	rest := func(model string) func() (int, string, bool) {
		return func() (int, string, bool) {
			a := ask(t, "POST", s.URL("/v2/models/"+model+"/infer"), row)
			return a.code, a.body, a.header.Get("Retry-After") != ""
		}
	}
	for name, call := range map[string]func() (int, string, bool){
		"the model's queue":  rest("slow"),
		"the server's limit": rest("other"),
		"grpc": func() (int, string, bool) {
			_, err := client.ModelInfer(t.Context(), inferRequest("slow", fp32("x", []int64{1, 4}, 1, 2, 3, 4)))
			switch st := status.Convert(err); st.Code() {
			case codes.OK:
				return 200, "", false
			case codes.Unavailable:
				return 503, st.Message(), len(st.Details()) > 0
			default:
				return 0, st.Message(), false
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := flood(40, call)
			if got[200] < 2 || got[503] < 1 || got[200]+got[503] != 40 {
				t.Errorf("answers by status: %v", got)
			}
		})
	}
	ask(t, "POST", s.URL("/v2/models/slow/infer"), row).want(t, 200)
}
