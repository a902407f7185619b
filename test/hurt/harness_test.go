//go:build hurt

package hurt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"serval"
	"serval/internal/testkit"
)

// build is one of the two programs under test.
type build struct {
	race bool
	// slack is added to bounds on time: what scheduling on a shared machine may cost, on top of what the server promises.
	slack time.Duration
	// growth is how much resident memory may grow in a run and still be called flat: heaps breathe.
	growth int64
}

// pick is the value for this build; the race detector makes the program five to ten times slower.
func pick[T any](b build, plain, race T) T {
	if b.race {
		return race
	}
	return plain
}

// both runs f on both programs.
func both(t *testing.T, f func(*testing.T, build)) {
	t.Run("cgo0", func(t *testing.T) { f(t, build{slack: 400 * time.Millisecond, growth: 24 << 20}) })
	t.Run("race", func(t *testing.T) { f(t, build{race: true, slack: time.Second, growth: 96 << 20}) })
}

// setup says how to start a server.
type setup struct {
	models string // folder
	data   string // folder; "": a new one
	config string // text of serval.yaml
	args   []string
	under  []string // a command that starts the program, such as prlimit
	log    string   // the file that config sends the log to
	unset  bool     // do not wait until it is ready
}

// start starts the server. It is stopped by its pid when the test ends; data races fail the test.
func start(t *testing.T, b build, o setup) *testkit.Server {
	t.Helper()
	dir := t.TempDir()
	args := o.args
	if o.config != "" {
		file := filepath.Join(dir, "serval.yaml")
		write(t, file, []byte(o.config))
		args = append([]string{"--config", file}, args...)
	}
	// Into files, as the access log can crowd a report out of what testkit keeps.
	races := filepath.Join(dir, "race")
	t.Cleanup(func() {
		found, _ := filepath.Glob(races + ".*")
		for _, file := range found {
			said, _ := os.ReadFile(file)
			t.Errorf("data race in the server:\n%s", said)
		}
	})
	return testkit.Serve(t, testkit.Options{
		Race: b.race, Models: o.models, Data: o.data, Args: args, Unset: o.unset, Under: o.under, Log: o.log,
		Env: []string{"GORACE=log_path=" + races},
	})
}

func write(t testing.TB, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// dial connects a gRPC client.
func dial(t testing.TB, addr string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256 << 20))}, options...)
	conn, err := grpc.NewClient("passthrough:///"+addr, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// once is an HTTP client that leaves no connection behind, so that what is counted is not the counting.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// client is an HTTP client of its own, with as many connections as it wants.
func client(t testing.TB, timeout time.Duration) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 1024, MaxIdleConns: 1024}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: timeout}
}

// answer is what a server answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s", a.status, a.body[:min(len(a.body), 600)])
}

// post sends JSON.
func post(c *http.Client, url, body string, header ...string) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return exchange(c, req)
}

func get(c *http.Client, url string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	return exchange(c, req)
}

func exchange(c *http.Client, req *http.Request) (answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body}, err
}

// control loads or unloads a model, and says what the server answered.
func control(c *http.Client, s *testkit.Server, model, what string) (answer, error) {
	return post(c, s.URL("/v2/repository/models/"+model+"/"+what), "{}")
}

// entry is a version in the repository's index.
type entry struct{ Name, Version, State, Reason string }

func index(t testing.TB, s *testkit.Server) []entry {
	t.Helper()
	a, err := post(once, s.URL("/v2/repository/index"), "{}")
	if err != nil || a.status != 200 {
		t.Fatalf("index: %v %v", a, err)
	}
	var list []entry
	if err := json.Unmarshal(a.body, &list); err != nil {
		t.Fatalf("index: %v: %s", err, a.body)
	}
	return list
}

// count is a sample of the server's metrics: the sum over all series whose text begins with prefix.
func count(t testing.TB, s *testkit.Server, prefix string) float64 {
	t.Helper()
	a, err := get(once, "http://"+s.Admin+"/metrics")
	if err != nil || a.status != 200 {
		t.Fatalf("metrics: %v %v", a, err)
	}
	sum := 0.0
	for line := range strings.Lines(string(a.body)) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		at := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			t.Fatalf("metrics: %q", line)
		}
		sum += v
	}
	return sum
}

// healthy fails the test unless the server is ready and the model answers.
func healthy(t testing.TB, s *testkit.Server, m model) {
	t.Helper()
	if a, err := get(once, s.URL("/v2/health/ready")); err != nil || a.status != 200 {
		t.Errorf("not ready: %v %v", a, err)
	}
	if a, err := post(once, s.URL(m.path()), m.json()); err != nil || a.status != 200 {
		t.Errorf("%s does not answer: %v %v", m.name, a, err)
	}
}

// descriptors is the number of the server's open files.
func descriptors(t testing.TB, s *testkit.Server) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// goroutines is the number of the server's goroutines, by the profile on the admin port.
func goroutines(t testing.TB, s *testkit.Server) int {
	t.Helper()
	a, err := get(once, "http://"+s.Admin+"/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, err := fmt.Sscanf(string(a.body), "goroutine profile: total %d", &n); err != nil {
		t.Fatalf("%v: %.80s", err, a.body)
	}
	return n
}

// goHeap is how much memory the server's Go heap has from the system.
func goHeap(t testing.TB, s *testkit.Server) int64 {
	t.Helper()
	a, err := get(once, "http://"+s.Admin+"/debug/pprof/heap?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	number := func(name string) (n int64) {
		at := bytes.Index(a.body, []byte("# "+name+" = "))
		if at < 0 {
			t.Fatalf("no %s in the heap profile", name)
		}
		if _, err := fmt.Sscanf(string(a.body[at:]), "# "+name+" = %d", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	return number("HeapSys") - number("HeapReleased")
}

// eventually waits until ok, and fails the test after the limit.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) bool {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("not within %v: %s", limit, what)
			return false
		}
	}
	return true
}

// settles fails the test unless the server's descriptors and goroutines come back to what they were.
func settles(t testing.TB, s *testkit.Server, limit time.Duration, files, routines int) {
	t.Helper()
	var f, g int
	if !eventually(t, limit, "descriptors and goroutines come back", func() bool {
		f, g = descriptors(t, s), goroutines(t, s)
		return f <= files+3 && g <= routines+10
	}) {
		t.Errorf("descriptors: %d before, %d now; goroutines: %d before, %d now", files, f, routines, g)
	}
}

// sample takes a number again and again until the function that it returns is called, which gives them all.
func sample(every time.Duration, take func() int64) (stop func() []int64) {
	quit, out := make(chan struct{}), make(chan []int64)
	go func() {
		var list []int64
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				list = append(list, take())
			case <-quit:
				out <- list
				return
			}
		}
	}()
	return func() []int64 { close(quit); return <-out }
}

// lateness watches, until the function that it returns is called, how late this machine wakes those who sleep a millisecond.
// A request passes some six wake-ups on its way through client and server; six times the 99th percentile is what may be
// added to a bound on a latency's: next to nothing on a quiet machine.
func lateness() (stop func() time.Duration) {
	samples := sample(2*time.Millisecond, func() int64 {
		start := time.Now()
		time.Sleep(time.Millisecond)
		return int64(time.Since(start) - time.Millisecond)
	})
	return func() time.Duration {
		list := samples()
		slices.Sort(list)
		return 6 * time.Duration(list[len(list)*99/100])
	}
}

// flat fails the test where the median of the last quarter of the samples is above that of the second quarter by more than
// allowed. The first quarter is warm-up.
func flat(t testing.TB, what string, samples []int64, allowed int64) {
	t.Helper()
	n := len(samples)
	if n < 8 {
		t.Errorf("%s: only %d samples", what, n)
		return
	}
	before, after := median(samples[n/4:n/2]), median(samples[n-n/4:])
	t.Logf("%s: first %d, in the second quarter %d, in the last %d", what, samples[0], before, after)
	if after-before > allowed {
		t.Errorf("%s grows: %d in the second quarter, %d in the last; %d more is allowed", what, before, after, allowed)
	}
}

func median(list []int64) int64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// refused says whether nothing listens there any more.
func refused(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// tensor makes an FP32 input of zeros.
func tensor(name string, shape ...int64) serval.Tensor {
	n := int64(4)
	for _, d := range shape {
		n *= d
	}
	return serval.Tensor{Name: name, DType: serval.FP32, Shape: shape, Data: make([]byte, n)}
}

func contains(b []byte, words ...string) error {
	for _, w := range words {
		if !bytes.Contains(b, []byte(w)) {
			return fmt.Errorf("%q is not in %.800s", w, b)
		}
	}
	return nil
}
