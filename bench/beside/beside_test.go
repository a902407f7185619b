//go:build bench

package beside

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"serval"
	"serval/bench/load"
	"serval/client"
	"serval/engine"
	"serval/engine/tree"
	"serval/internal/testkit"
)

var (
	modelDir = flag.String("model", "", "folder with a tree model and rows.f32, of bench/trees")
	rates    = flag.String("rates", "500,1000", "online requests a second")
	rounds   = flag.Int("rounds", 5, "how often each is measured")
	length   = flag.Duration("time", 6*time.Second, "of one measurement")
	messages = flag.Int("n", 1_000_000, "messages that wait for each stream")
	rows     = flag.Int("rows", 5_000_000, "rows of the job's table")
)

// bar is how much slower online callers may be.
const bar = 1.25

type bench struct {
	t        *testing.T
	k        *testkit.KafkaBroker
	s        *testkit.Server
	c        *client.Client
	dir      string
	file     string
	input    string // the model's
	features int
	sample   []float32
}

func TestBeside(t *testing.T) {
	b := &bench{t: t, dir: t.TempDir()}
	b.layOut()
	var list []float64
	for text := range strings.SplitSeq(*rates, ",") {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rate)
	}
	b.k = testkit.KafkaAlone(t, testkit.KafkaOptions{Optimised: true})
	b.fill()
	b.table()
	b.serve(len(list) * *rounds)
	fmt.Printf("%d cores; model %s, %d features; %d rounds of %v each\n", runtime.NumCPU(), b.file, b.features, *rounds, *length)
	b.online(100, time.Second) // warm
	for i, rate := range list {
		b.measure(i, rate)
	}
}

// kinds are what runs beside. Spinners do nothing: one or two threads of another program, of the class that the kernel runs only when nobody
// else wants the core. They say what any work costs on this machine, however well it stands aside.
var kinds = []string{"alone", "one spinner", "two spinners", "a job", "background stream", "a stream"}

// measure prints one rate's table.
func (b *bench) measure(at int, rate float64) {
	took := map[string][]load.Latency{}
	work := map[string][]float64{}
	for round := range *rounds {
		for i := range kinds {
			kind := kinds[(round+i)%len(kinds)] // no kind always comes first
			var l load.Latency
			var done float64
			switch kind {
			case "alone":
				l = b.online(rate, *length)
			case "one spinner":
				l = b.besideSpinners(rate, 1)
			case "two spinners":
				l = b.besideSpinners(rate, 2)
			case "a job":
				l, done = b.besideJob(rate)
			case "background stream":
				l, done = b.besideStream(rate, fmt.Sprintf("background%d", at**rounds+round))
			default:
				l, done = b.besideStream(rate, fmt.Sprintf("stream%d", at**rounds+round))
			}
			took[kind], work[kind] = append(took[kind], l), append(work[kind], done)
			time.Sleep(1500 * time.Millisecond) // until nothing is left of it
		}
	}
	fmt.Printf("\n%-18s %8s  %9s  %9s  %22s  %14s\n", "online", "rate/s", "p50 ms", "p99 ms", "p99 to alone", "beside, per s")
	for _, kind := range kinds {
		var p50, p99, ratio []float64
		for i, l := range took[kind] {
			p50, p99 = append(p50, millis(l.P50)), append(p99, millis(l.P99))
			ratio = append(ratio, float64(l.P99)/float64(took["alone"][i].P99))
		}
		slices.Sort(ratio)
		verdict := ""
		if r := median(ratio); kind != "alone" && r > bar {
			verdict = fmt.Sprintf("  over the bar of %.2f", bar)
		}
		fmt.Printf("%-18s %8.0f  %9.3f  %9.3f  %6.2f (%.2f to %.2f)  %14.0f%s\n", kind, rate, median(p50), median(p99), median(ratio), ratio[0], ratio[len(ratio)-1], median(work[kind]), verdict)
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// layOut makes the models folder.
func (b *bench) layOut() {
	version := filepath.Join(b.dir, "models", "tree", "1")
	from := filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt")
	b.file = "model.txt"
	if *modelDir != "" {
		for _, name := range []string{"model.ubj", "model.txt", "model.json"} {
			if _, err := os.Stat(filepath.Join(*modelDir, name)); err == nil {
				from, b.file = filepath.Join(*modelDir, name), name
				break
			}
		}
		raw, err := os.ReadFile(filepath.Join(*modelDir, "rows.f32"))
		b.must(err)
		for i := 0; i+4 <= len(raw); i += 4 {
			b.sample = append(b.sample, math.Float32frombits(binary.LittleEndian.Uint32(raw[i:])))
		}
	}
	raw, err := os.ReadFile(from)
	b.must(err)
	b.must(os.MkdirAll(version, 0o755))
	b.must(os.WriteFile(filepath.Join(version, b.file), raw, 0o644))
	m, err := tree.New().Open(b.t.Context(), engine.Spec{Name: "tree", Version: "1", Dir: version, Threads: 1, Cores: 1, Settings: serval.ModelSettings{File: b.file}})
	b.must(err)
	info := m.Signature().Inputs[0]
	b.input, b.features = info.Name, int(info.Shape[1])
	b.must(m.Close())
	if b.sample == nil {
		random := rand.New(rand.NewPCG(1, 2))
		for range 1000 * b.features {
			b.sample = append(b.sample, float32(random.NormFloat64()*2))
		}
	}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// row is the values of a row.
func (b *bench) row(i int) []float32 {
	at := i * b.features % len(b.sample)
	if at+b.features > len(b.sample) {
		at = 0
	}
	return b.sample[at : at+b.features]
}

// fill puts the messages into the input topic, which each stream reads from its beginning.
func (b *bench) fill() {
	b.k.Topic(b.t, "input", 4)
	b.k.Topic(b.t, "output", 4)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.k.Addr), kgo.DefaultProduceTopic("input"), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	b.must(err)
	defer cl.Close()
	var wrong atomic.Value
	for i := range *messages {
		v := fmt.Appendf(nil, `{"id":%d`, i)
		for c, x := range b.row(i) {
			v = fmt.Appendf(v, `,"f%d":`, c)
			if x != x {
				v = append(v, "null"...)
			} else {
				v = strconv.AppendFloat(v, float64(x), 'g', -1, 32)
			}
		}
		cl.Produce(context.Background(), &kgo.Record{Key: strconv.AppendInt(nil, int64(i), 10), Value: append(v, '}')}, func(_ *kgo.Record, err error) {
			if err != nil {
				wrong.Store(err)
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil || wrong.Load() != nil {
		b.t.Fatal(err, wrong.Load())
	}
}

// table writes the job's input.
func (b *bench) table() {
	f, err := os.Create(filepath.Join(b.dir, "in.csv"))
	b.must(err)
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	line := []byte("id")
	for c := range b.features {
		line = fmt.Appendf(line, ",f%d", c)
	}
	_, _ = w.Write(append(line, '\n')) // Flush tells
	for i := range *rows {
		line = strconv.AppendInt(line[:0], int64(i), 10)
		for _, x := range b.row(i) {
			line = strconv.AppendFloat(append(line, ','), float64(x), 'g', -1, 32)
		}
		_, _ = w.Write(append(line, '\n'))
	}
	b.must(w.Flush())
}

// serve starts the server, with as many paused streams of both kinds.
func (b *bench) serve(streams int) {
	var conf strings.Builder
	conf.WriteString("log: {access: false}\nstreams:\n")
	for i := range 2 * streams {
		name := fmt.Sprint("stream", i/2)
		if i%2 == 1 {
			name = fmt.Sprint("background", i/2)
		}
		fmt.Fprintf(&conf, `  %[1]s:
    model: tree
    paused: true
    background: %[4]v
    source: {kafka: {brokers: [%[2]s], topics: [input], group: %[1]s}}
    target: {kafka: {brokers: [%[2]s], topic: output}}
    format: {rows: {columns: [%[3]s], pass: [id]}}
`, name, b.k.Addr, strings.Join(b.columns(), ", "), i%2 == 1)
	}
	file := filepath.Join(b.dir, "serval.yaml")
	b.must(os.WriteFile(file, []byte(conf.String()), 0o644))
	b.s = testkit.Serve(b.t, testkit.Options{Models: filepath.Join(b.dir, "models"), Args: []string{"--config", file}})
	b.c = client.New(b.s.Admin, "")
	b.t.Cleanup(b.c.Close)
}

func (b *bench) columns() (list []string) {
	for i := range b.features {
		list = append(list, "f"+strconv.Itoa(i))
	}
	return list
}

// online is the open loop.
func (b *bench) online(rate float64, d time.Duration) load.Latency {
	b.t.Helper()
	x := serval.Tensor{Name: b.input, DType: serval.FP32, Shape: []int64{1, int64(b.features)}}
	for _, v := range b.row(7) {
		if v != v {
			v = 0 // JSON has no NaN
		}
		x.Data = binary.LittleEndian.AppendUint32(x.Data, math.Float32bits(v))
	}
	body, err := load.Body(load.JSON, serval.Ref{Name: "tree"}, []serval.Tensor{x})
	b.must(err)
	r, err := load.Run(b.t.Context(), load.Options{
		Addr: b.s.HTTP, Payload: body, Rate: rate, Arrivals: load.Poisson, Seed: uint64(time.Now().UnixNano()), Duration: d, WarmUp: 500 * time.Millisecond, Concurrency: 64,
	})
	b.must(err)
	if r.Errors > 0 {
		b.t.Errorf("%d of %d online requests failed: %s", r.Errors, r.Requests, r.FirstError)
	}
	return r.Latency
}

// besideSpinners measures while threads of other processes spin.
func (b *bench) besideSpinners(rate float64, n int) load.Latency {
	b.t.Helper()
	self, err := os.Executable()
	b.must(err)
	for range n {
		c := exec.Command(self, "-test.run", "^TestSpin$")
		c.Env = append(os.Environ(), spins+"=1", "GOMAXPROCS=1")
		b.must(c.Start())
		defer func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		}()
	}
	time.Sleep(200 * time.Millisecond)
	return b.online(rate, *length)
}

// spins is set where this program is a spinner.
const spins = "SERVAL_BENCH_SPINS"

// TestSpin is a spinner, until it is killed.
func TestSpin(t *testing.T) {
	if os.Getenv(spins) == "" {
		t.Skip("it is what TestBeside starts as another process")
	}
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0); err != nil {
		t.Fatal(err)
	}
	for {
	}
}

// besideJob measures while a job runs, and says how many rows a second it did.
func (b *bench) besideJob(rate float64) (load.Latency, float64) {
	b.t.Helper()
	spec, err := json.Marshal(map[string]any{"model": "tree", "input": []string{filepath.Join(b.dir, "in.csv")}, "map": map[string][]string{b.input: b.columns()}, "passthrough": []string{"id"}})
	b.must(err)
	j, err := b.c.Submit(b.t.Context(), &client.Submission{Job: spec})
	b.must(err)
	job := func() *client.Job {
		now, err := b.c.Job(b.t.Context(), j.ID)
		b.must(err)
		return now
	}
	b.s.Await("rows of the job", func() bool { return job().Progress.Rows > 0 })
	before, began := job().Progress.Rows, time.Now()
	l := b.online(rate, *length)
	after := job()
	if after.Over() {
		b.t.Errorf("the job ended during the measurement (%s); give more -rows", after.State)
	}
	perSecond := float64(after.Progress.Rows-before) / time.Since(began).Seconds()
	_, err = b.c.ChangeJob(b.t.Context(), j.ID, "cancel")
	b.must(err)
	b.s.Await("the job's end", func() bool { return job().Over() })
	b.must(b.c.DeleteJob(b.t.Context(), j.ID))
	return l, perSecond
}

// besideStream measures while a stream runs, and says how many messages a second it wrote.
func (b *bench) besideStream(rate float64, name string) (load.Latency, float64) {
	b.t.Helper()
	b.stream(name, "resume")
	b.s.Await("messages of the stream", func() bool { return b.written(name) > 0 })
	before, began := b.written(name), time.Now()
	l := b.online(rate, *length)
	after := b.written(name)
	perSecond := (after - before) / time.Since(began).Seconds()
	if after >= float64(*messages) {
		b.t.Errorf("stream %s ran dry during the measurement; give more messages with -n", name)
	}
	b.stream(name, "pause")
	return l, perSecond
}

func (b *bench) stream(name, verb string) {
	b.t.Helper()
	r, err := http.Post("http://"+b.s.Admin+"/api/v1/streams/"+name+"/"+verb, "application/json", nil)
	b.must(err)
	defer r.Body.Close()
	if said, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %s %s", verb, name, r.Status, said)
	}
}

// written is how many messages a stream has written.
func (b *bench) written(name string) float64 {
	b.t.Helper()
	r, err := http.Get("http://" + b.s.Admin + "/metrics")
	b.must(err)
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	b.must(err)
	_, rest, ok := strings.Cut(string(raw), "serval_stream_written_total{stream=\""+name+"\"} ")
	if !ok {
		return 0
	}
	text, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(text, 64)
	b.must(err)
	return n
}
