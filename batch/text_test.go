package batch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/batch"
)

// talker answers a conversation with what it was told, in two pieces, and embeds a text as its length.
type talker struct {
	mu   sync.Mutex
	asks []serval.Input
	live int
	most int
}

func (k *talker) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	k.mu.Lock()
	k.asks = append(k.asks, req.Input)
	k.live++
	k.most = max(k.most, k.live)
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.live--
		k.mu.Unlock()
	}()
	said := ""
	switch in := req.Input.(type) {
	case *serval.Texts:
		out := &serval.Embeddings{}
		for _, x := range in.List {
			if x.Text == "too long" {
				return serval.Errorf(serval.InvalidArgument, "one text is too long")
			}
			out.List = append(out.List, []float32{float32(len(x.Text)), 1})
		}
		return sink.Send(&serval.Chunk{Output: out, Usage: serval.Usage{Prompt: int64(len(in.List))}, Finish: serval.Stop})
	case *serval.Chat:
		for _, m := range in.Messages {
			said += m.Role + ": " + m.Content + "; "
		}
	case *serval.Completion:
		said = in.Text
	}
	time.Sleep(time.Millisecond) // so that others are under way
	if strings.Contains(said, "too long") {
		return serval.Errorf(serval.InvalidArgument, "the prompt has 9000 tokens, the model takes 4096").At("messages")
	}
	d := &serval.Delta{Text: said[:len(said)/2]}
	if err := sink.Send(&serval.Chunk{Output: d, Usage: serval.Usage{Prompt: 3, Completion: 1}}); err != nil {
		return err
	}
	*d = serval.Delta{Text: said[len(said)/2:]}
	return sink.Send(&serval.Chunk{Output: d, Usage: serval.Usage{Completion: 1}, Finish: serval.Length})
}

func textOptions(t *testing.T, h serval.Handler, name, data string, job batch.Job) batch.Options {
	t.Helper()
	in := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(in, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	o := options(t, h, filepath.Join(t.TempDir(), "out.jsonl"), in)
	o.Model = serval.ModelInfo{Name: "talker", Version: "1", Language: &serval.Language{Generate: true, Embed: true, Slots: 4}}
	o.Job = job
	return o
}

func TestChats(t *testing.T) {
	limit, warm := 8, 0.5
	var csv strings.Builder
	csv.WriteString("id,text,kind\n")
	for i := range 200 {
		fmt.Fprintf(&csv, "%d,\"text {%d}\",%s\n", i, i, []string{"bug", "wish", "too long"}[min(i%50, 2)%3])
	}
	k := &talker{}
	o := textOptions(t, k, "in.csv", csv.String(), batch.Job{
		Text: &batch.Text{Prompt: "{{Is}} {text} a { kind }?", System: "Be {kind}.", MaxTokens: &limit, Temperature: &warm, Stop: []string{"\n"}}})
	report, err := batch.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows != 200 || report.Bad != 200-8 || report.Usage.Completion != 16 {
		t.Errorf("report %+v", report)
	}
	got := strings.Split(read(t, o.Target.Path()), "\n")
	if len(got) != 9 || got[0] != `{"id":"0","answer":"system: Be bug.; user: {Is} text {0} a bug?; ","finish":"length","prompt_tokens":3,"completion_tokens":2}` || !strings.HasPrefix(got[3], `{"id":"51","answer":"system: Be wish.;`) {
		t.Errorf("%d lines\n%s\n%s", len(got), got[0], got[3])
	}
	if chat := k.asks[0].(*serval.Chat); *chat.Limit != 8 || *chat.Temperature != 0.5 || len(chat.Stop) != 1 {
		t.Errorf("asked %+v", chat)
	}
	if k.most < 2 || k.most > 6 {
		t.Errorf("%d requests at the same time, where the model has 4 slots", k.most)
	}

	// What has a common beginning follows one another, and comes out in the input's order.
	k = &talker{}
	o = textOptions(t, k, "in.csv", "prompt\nb 1\na 1\nb 2\na 2\n", batch.Job{Parallel: 1, Passthrough: []string{"all"}})
	if _, err = batch.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	asked := ""
	for _, in := range k.asks {
		asked += in.(*serval.Chat).Messages[0].Content + ", "
	}
	if lines := strings.Split(read(t, o.Target.Path()), "\n"); asked != "a 1, a 2, b 1, b 2, " || len(lines) != 5 || !strings.HasPrefix(lines[1], `{"prompt":"a 1","answer":"user: a 1; "`) {
		t.Errorf("asked %s; got %q", asked, lines)
	}

	// Conversations, in JSONL; what is wrong with one is its own.
	data := `{"messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}
{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}
{"messages":"no list"}
{"messages":[]}
{"messages":null}
`
	o = textOptions(t, k, "in.jsonl", data, batch.Job{})
	if report, err = batch.Run(t.Context(), o); err != nil || report.Bad != 4 {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := read(t, o.Target.Path()); got != `{"answer":"system: S; user: ab; ","finish":"length","prompt_tokens":3,"completion_tokens":2}`+"\n" {
		t.Errorf("got %s", got)
	}
	for line := range strings.Lines(read(t, report.Errors)) {
		var e struct {
			Column, Reason string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Column != "messages" || e.Reason == "" {
			t.Errorf("%v: %s", err, line)
		}
	}

	o = textOptions(t, k, "in.csv", "q,prompt\na,b\nc,d\n", batch.Job{Text: &batch.Text{Task: "completion"}, Passthrough: []string{"all"}})
	o.Job.Map = map[string][]string{"prompt": {"q"}}
	if _, err = batch.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := read(t, o.Target.Path()); !strings.HasPrefix(got, `{"q":"a","prompt":"b","answer":"a"`) {
		t.Errorf("got %s", got)
	}
}

func TestEmbeddings(t *testing.T) {
	k := &talker{}
	var csv strings.Builder
	csv.WriteString("id,text\n")
	for i := range 300 {
		text := strings.Repeat("x", i)
		if i == 100 {
			text = "too long"
		}
		fmt.Fprintf(&csv, "%d,%s\n", i, text)
	}
	o := textOptions(t, k, "in.csv", csv.String(), batch.Job{Text: &batch.Text{Task: "embed"}})
	report, err := batch.Run(t.Context(), o)
	if err != nil || report.Rows != 300 || report.Bad != 1 || report.Usage.Prompt != 299 {
		t.Fatalf("%+v, %v", report, err)
	}
	got := strings.Split(read(t, o.Target.Path()), "\n")
	if len(got) != 300 || got[0] != `{"id":"0","embedding":[0.0,1.0]}` || got[100] != `{"id":"101","embedding":[101.0,1.0]}` {
		t.Errorf("%d lines; %s; %s", len(got), got[0], got[100])
	}
	if len(k.asks) > 30 {
		t.Errorf("%d requests for 300 texts", len(k.asks))
	}
}

// TestMissing has values that are missing: floats are NaN, others make the row bad.
func TestMissing(t *testing.T) {
	h := serval.HandlerFunc(func(_ context.Context, req *serval.Request, sink serval.Sink) error {
		in := req.Input.(*serval.Tensors)
		out := *in.Find("f")
		out.Name = "same"
		return sink.Send(&serval.Chunk{Output: &serval.Tensors{List: []serval.Tensor{out}}})
	})
	data := `{"f":1.5,"n":1,"note":"a"}
{"f":null,"n":2,"note":null}
{"f":2.5,"n":null,"note":"c"}
{"f":3.5,"n":4}
`
	o := textOptions(t, h, "in.jsonl", data, batch.Job{})
	o.Model = serval.ModelInfo{Name: "m", Version: "1", Signature: serval.Signature{Inputs: []serval.TensorInfo{
		{Name: "f", DType: serval.FP32, Shape: []int64{-1, 1}}, {Name: "n", DType: serval.Int64, Shape: []int64{-1}}}}}
	report, err := batch.Run(t.Context(), o)
	if err != nil || report.Rows != 4 || report.Bad != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := read(t, o.Target.Path()); got != "{\"note\":\"a\",\"same\":1.5}\n{\"note\":null,\"same\":\"NaN\"}\n{\"note\":null,\"same\":3.5}\n" {
		t.Errorf("got\n%s", got)
	}
	if got := read(t, report.Errors); !strings.Contains(got, `"row":3,"column":"n","reason":"missing, where a value of type INT64 is needed"`) {
		t.Errorf("got\n%s", got)
	}
}

// TestEstimate tells from a sample what the whole takes: the model needs the same time for every row.
func TestEstimate(t *testing.T) {
	in := table(t, "in.csv", 100000, nil)
	slow := serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		time.Sleep(2 * time.Millisecond)
		return sums(nil).Handle(ctx, req, sink)
	})
	o := options(t, slow, filepath.Join(t.TempDir(), "unused.csv"), in)
	o.Job.Rows = 100
	f, err := batch.Estimate(t.Context(), o, ".csv", 400*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if f.Exact || f.Sample < 100 || f.Sample > 90000 || f.Rows < 90000 || f.Rows > 110000 {
		t.Errorf("%+v", f)
	}
	o.Job.Limit = 300
	if f, err = batch.Estimate(t.Context(), o, ".csv", time.Minute); err != nil || !f.Exact || f.Rows != 300 {
		t.Errorf("%+v, %v", f, err)
	}
}
