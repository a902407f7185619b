//go:build bench

package stream

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/engine"
	"serval/engine/tree"
	"serval/internal/testkit"
	door "serval/stream"
	"serval/stream/format"
)

var (
	modelDir = flag.String("model", "", "folder with a tree model and rows.f32, of bench/trees")
	messages = flag.Int("n", 300_000, "messages")
	rounds   = flag.Int("rounds", 3, "how often each is measured; the median counts")
	profile  = flag.String("profile", "", "write a CPU profile of serval to this file, in the last round")
)

const partitions = 4

// bench is one run.
type bench struct {
	t        *testing.T
	k        *testkit.KafkaBroker
	models   string // folder
	file     string // the model's
	features int
	rows     []float32
	format   door.Format
	columns  []string
}

func TestThroughput(t *testing.T) {
	b := &bench{t: t}
	b.layOut()
	b.k = testkit.KafkaAlone(t, testkit.KafkaOptions{Optimised: true})
	size := b.fill("input")
	fmt.Printf("%d messages of %d bytes, %d partitions, %d cores; model %s\n", *messages, size, partitions, runtime.NumCPU(), b.file)
	kinds := []struct {
		name string
		run  func(group, to string, last bool)
	}{
		{"passthrough", func(group, to string, _ bool) { b.byHand(group, to, nil) }},
		{"by hand", func(group, to string, _ bool) { b.byHand(group, to, b.open()) }},
		{"serval, at-least-once", func(group, to string, last bool) { b.serval(group, to, "at-least-once", last) }},
		{"serval, exactly-once", func(group, to string, _ bool) { b.serval(group, to, "exactly-once", false) }},
	}
	rates := map[string][]float64{}
	for round := range *rounds {
		for i, k := range kinds {
			name := fmt.Sprintf("run-%d-%d", round, i)
			b.k.Topic(t, name, partitions)
			k.run(name, name, round == *rounds-1)
			rates[k.name] = append(rates[k.name], b.rate(name))
			fmt.Printf("round %d: %-24s %9.0f messages/s\n", round+1, k.name, rates[k.name][round])
		}
	}
	for _, k := range kinds {
		fmt.Printf("median:  %-24s %9.0f messages/s, %3.0f %% of the program by hand\n", k.name, median(rates[k.name]), 100*median(rates[k.name])/median(rates["by hand"]))
	}
}

func median(list []float64) float64 {
	list = append([]float64(nil), list...)
	for i := range list {
		for j := i; j > 0 && list[j] < list[j-1]; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	return list[len(list)/2]
}

// layOut makes the models folder.
func (b *bench) layOut() {
	b.models = b.t.TempDir()
	version := filepath.Join(b.models, "tree", "1")
	if err := os.MkdirAll(version, 0o755); err != nil {
		b.t.Fatal(err)
	}
	from := filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt")
	b.file, b.features = "model.txt", 6
	if *modelDir != "" {
		for _, name := range []string{"model.ubj", "model.txt", "model.json"} {
			if _, err := os.Stat(filepath.Join(*modelDir, name)); err == nil {
				from, b.file = filepath.Join(*modelDir, name), name
				break
			}
		}
		raw, err := os.ReadFile(filepath.Join(*modelDir, "rows.f32"))
		if err != nil {
			b.t.Fatal(err)
		}
		for i := 0; i+4 <= len(raw); i += 4 {
			b.rows = append(b.rows, math.Float32frombits(binary.LittleEndian.Uint32(raw[i:])))
		}
	}
	raw, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(version, b.file), raw, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	m := b.open()
	info := m[0].Signature().Inputs[0]
	b.features = int(info.Shape[1])
	for _, c := range m {
		_ = c.Close()
	}
	for i := range b.features {
		b.columns = append(b.columns, "f"+strconv.Itoa(i))
	}
	if b.format, err = format.New(&format.Rows{Columns: b.columns, Pass: []string{"id"}}, nil); err != nil {
		b.t.Fatal(err)
	}
}

// open loads a copy of the model for each core.
func (b *bench) open() (list []engine.Batcher) {
	for range runtime.NumCPU() {
		m, err := tree.New().Open(context.Background(), engine.Spec{
			Name: "tree", Version: "1", Dir: filepath.Join(b.models, "tree", "1"), Threads: 1, Cores: runtime.NumCPU(), Settings: serval.ModelSettings{File: b.file},
		})
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, m.(engine.Batcher))
	}
	return list
}

func (b *bench) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.k.Addr), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))...)
	if err != nil {
		b.t.Fatal(err)
	}
	return cl
}

// fill writes the input, and returns the size of a message.
func (b *bench) fill(topic string) (size int) {
	b.k.Topic(b.t, topic, partitions)
	cl := b.client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	defer cl.Close()
	random := rand.New(rand.NewPCG(1, 2))
	var wrong atomic.Value
	for i := range *messages {
		v := fmt.Appendf(nil, `{"id":%d`, i)
		for c, name := range b.columns {
			x := float32(random.NormFloat64() * 2)
			if len(b.rows) > 0 {
				x = b.rows[(i*b.features+c)%len(b.rows)]
			}
			v = append(append(append(v, `,"`...), name...), `":`...)
			if x != x {
				v = append(v, "null"...)
			} else {
				v = strconv.AppendFloat(v, float64(x), 'g', -1, 32)
			}
		}
		if pad := 280 - len(v) - 12; pad > 0 {
			v = append(append(append(v, `,"note":"`...), strings.Repeat("n", pad)...), '"')
		}
		v = append(v, '}')
		size = len(v)
		cl.Produce(context.Background(), &kgo.Record{Key: strconv.AppendInt(nil, int64(i), 10), Value: v}, func(_ *kgo.Record, err error) {
			if err != nil {
				wrong.Store(err)
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil || wrong.Load() != nil {
		b.t.Fatal(err, wrong.Load())
	}
	return size
}

// byHand is what a team writes that has franz-go and an engine: without models, messages are passed through.
func (b *bench) byHand(group, to string, models []engine.Batcher) {
	cl := b.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics("input"), kgo.DefaultProduceTopicAlways(), kgo.DefaultProduceTopic(to),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(500*time.Millisecond), kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(16<<20), kgo.MaxBufferedRecords(1<<16))
	defer cl.Close()
	info := &serval.ModelInfo{Name: "tree", Version: "1"}
	chunks := make(chan []*kgo.Record, 8)
	var left atomic.Int64
	left.Store(int64(*messages))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	workers := max(1, len(models))
	if len(models) > 0 {
		info.Signature = models[0].Signature()
	}
	var done sync.WaitGroup
	for w := range workers {
		done.Go(func() {
			for chunk := range chunks {
				out := make([]*kgo.Record, len(chunk))
				if models == nil {
					for i, r := range chunk {
						out[i] = &kgo.Record{Key: r.Key, Value: r.Value}
					}
				} else {
					b.score(models[w], info, chunk, out)
				}
				var wait atomic.Int64
				wait.Store(int64(len(out)))
				for _, r := range out {
					cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
						if err != nil {
							panic(err)
						}
						if wait.Add(-1) == 0 {
							cl.MarkCommitRecords(chunk...)
						}
						if left.Add(-1) == 0 {
							cancel()
						}
					})
				}
			}
		})
	}
	for ctx.Err() == nil {
		list := cl.PollRecords(ctx, 8192).Records()
		for len(list) > 0 {
			n := min(512, len(list))
			chunks <- list[:n]
			list = list[n:]
		}
	}
	close(chunks)
	done.Wait()
	if err := cl.CommitMarkedOffsets(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// score answers a chunk with one batch.
func (b *bench) score(m engine.Batcher, info *serval.ModelInfo, chunk, out []*kgo.Record) {
	x := serval.Tensor{Name: info.Signature.Inputs[0].Name, DType: serval.FP32, Shape: []int64{int64(len(chunk)), int64(b.features)}, Data: make([]byte, 0, 4*b.features*len(chunk))}
	carry := make([]door.Call, len(chunk))
	for i, r := range chunk {
		if err := b.format.Decode(&door.Message{Value: r.Value}, info, &carry[i]); err != nil {
			panic(err)
		}
		x.Data = append(x.Data, carry[i].Input.(*serval.Tensors).List[0].Data...)
	}
	call := &engine.Call{Inputs: []serval.Tensor{x}, Rows: int64(len(chunk))}
	if err := m.Execute(context.Background(), []*engine.Call{call}); err != nil || call.Err != nil {
		panic(fmt.Sprint(err, call.Err))
	}
	y := call.Outputs[0]
	size := len(y.Data) / len(chunk)
	shape := append([]int64{1}, y.Shape[1:]...)
	answer := &door.Answer{Model: serval.Ref{Name: "tree", Version: "1"}, Outputs: make([]serval.Tensor, 1)}
	for i, r := range chunk {
		answer.Outputs[0] = serval.Tensor{Name: y.Name, DType: y.DType, Shape: shape, Data: y.Data[i*size : (i+1)*size]}
		var m door.Message
		if err := b.format.Encode(nil, &carry[i], answer, &m); err != nil {
			panic(err)
		}
		out[i] = &kgo.Record{Key: r.Key, Value: m.Value}
	}
	call.Reset()
}

// serval runs the real program until all is written.
func (b *bench) serval(group, to, delivery string, last bool) {
	file := filepath.Join(b.t.TempDir(), "serval.yaml")
	text := fmt.Sprintf(`streams:
  scores:
    model: tree
    delivery: %s
    source: {kafka: {brokers: [%[2]s], topics: [input], group: %[3]s}}
    target: {kafka: {brokers: [%[2]s], topic: %[4]s}}
    format: {rows: {columns: [%[5]s], pass: [id]}}
log: {access: false}
`, delivery, b.k.Addr, group, to, strings.Join(b.columns, ", "))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	s := testkit.Serve(b.t, testkit.Options{Models: b.models, Args: []string{"--config", file}})
	if *profile != "" && last {
		go func() {
			r, err := http.Get("http://" + s.Admin + "/debug/pprof/profile?seconds=2")
			if err != nil {
				return
			}
			defer r.Body.Close()
			raw, _ := io.ReadAll(r.Body)
			_ = os.WriteFile(*profile, raw, 0o644)
		}()
	}
	want := fmt.Sprintf("serval_stream_written_total{stream=\"scores\"} %s\n", strconv.FormatFloat(float64(*messages), 'g', -1, 64))
	s.Await("all results", func() bool {
		time.Sleep(100 * time.Millisecond) // asking costs it time
		r, err := http.Get("http://" + s.Admin + "/metrics")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		raw, _ := io.ReadAll(r.Body)
		return strings.Contains(string(raw), want)
	})
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		b.t.Errorf("exit code %d", code)
	}
}

// rate is that of the messages in a topic, which must be all.
func (b *bench) rate(topic string) float64 {
	cl := b.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n := 0
	var first, last time.Time
	for n < *messages {
		f := cl.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			b.t.Fatalf("%s: %d of %d: %v", topic, n, *messages, err)
		}
		f.EachRecord(func(r *kgo.Record) {
			n++
			if t := r.Timestamp; first.IsZero() || t.Before(first) {
				first = t
			}
			if r.Timestamp.After(last) {
				last = r.Timestamp
			}
		})
	}
	return float64(n) / last.Sub(first).Seconds()
}
