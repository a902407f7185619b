package chat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSkim(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want skim
	}{
		"role": {`{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}`,
			skim{}},
		"content":    {`{"choices":[{"index":0,"delta":{"content":"a\"\u00e9"},"logprobs":null,"finish_reason":null}]}`, skim{output: true, text: []byte(`a\"\u00e9`)}},
		"null":       {`{"choices":[{"delta":{"content":null}}]}`, skim{}},
		"reasoning":  {`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`, skim{output: true, text: []byte("hm")}},
		"tool":       {`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}]}`, skim{output: true}},
		"no tools":   {`{"choices":[{"delta":{"tool_calls":[]}}]}`, skim{}},
		"completion": {`{"choices":[{"text":" word","index":0,"finish_reason":null}]}`, skim{output: true, text: []byte(" word")}},
		"finish":     {`{"choices":[{"delta":{},"finish_reason":"length"}]}`, skim{finish: []byte("length")}},
		"usage": {`{"choices":[],"usage":{"completion_tokens":7,"prompt_tokens":31,"prompt_tokens_details":{"audio_tokens":1,"cached_tokens":30}}}`,
			skim{usage: true, prompt: 31, answered: 7, cached: 30}},
		"timings":    {`{"usage":{"prompt_tokens":5,"completion_tokens":1},"timings":{"cache_n":4,"prompt_ms":0.5e-3}}`, skim{usage: true, prompt: 5, answered: 1, reused: 4}},
		"elsewhere":  {`{"content":"x","choices":{"delta":{"content":"x"}},"x":{"usage":{"prompt_tokens":9}},"finish_reason":"stop"}`, skim{}},
		"error":      {`{"error":{"message":"no room","code":503}}`, skim{failed: true, why: []byte("no room")}},
		"error text": {`{"error":"no room"}`, skim{failed: true, why: []byte("no room")}},
		"no error":   {`{"error":null}`, skim{}},
		"vectors":    {`{"data":[{"embedding":[1,2]},{"embedding":"AAAA"}],"usage":{"prompt_tokens":4}}`, skim{vectors: 2, usage: true, prompt: 4}},
	} {
		s := skim{keep: true}
		if err := s.read([]byte(c.in)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := c.want
		if want.cached == 0 {
			want.cached = -1
		}
		if want.reused == 0 {
			want.reused = -1
		}
		if string(s.text) != string(want.text) || s.output != want.output || string(s.finish) != string(want.finish) || s.failed != want.failed || string(s.why) != string(want.why) ||
			s.usage != want.usage || s.prompt != want.prompt || s.answered != want.answered || s.cached != want.cached || s.reused != want.reused || s.vectors != want.vectors {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for _, in := range []string{
		"", "[]", "1", `{"a":1}x`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":01}`, `{"a":1.}`, `{"a":1e}`, `{"a":-}`, `{"a":"` + "\n" + `"}`, `{"a":"\x"}`, `{"a":"\u12g4"}`,
		`{"a":tru}`, `{"a":[1,]}`, `{"a":1,}`, `{"a":"`, `{"usage":{"prompt_tokens":-1}}`, `{"usage":{"prompt_tokens":1.5}}`, `{"usage":{"completion_tokens":1e3}}`,
		`{"usage":{"completion_tokens":12345678901234567890}}`, `{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}",
	} {
		var s skim
		if err := s.read([]byte(in)); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}

// count is how many tokens encoding/json sees under a name; ok is false where it is no number of tokens.
func count(object map[string]any, name string) (n int64, ok bool) {
	v, is := object[name].(json.Number)
	if !is {
		return 0, true
	}
	n, err := v.Int64()
	return n, err == nil && n >= 0 && len(v) <= 15 && !strings.ContainsAny(string(v), "-")
}

// plain says whether no object has a name twice, or one with an escape, which skim does not look into.
func plain(in []byte) bool {
	d := json.NewDecoder(bytes.NewReader(in))
	var names []map[string]bool // of the open objects; nil for a list
	isName := false
	for {
		at := d.InputOffset()
		token, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		text, isText := token.(string)
		if isName && isText {
			raw := in[at:d.InputOffset()]
			if top := names[len(names)-1]; top[text] || bytes.ContainsAny(raw, `\`) || strings.ContainsRune(text, '\ufffd') {
				return false
			} else {
				top[text] = true
			}
			isName = false
			continue
		}
		switch token {
		case json.Delim('{'):
			names = append(names, map[string]bool{})
		case json.Delim('['):
			names = append(names, nil)
		case json.Delim('}'), json.Delim(']'):
			names = names[:len(names)-1]
		}
		isName = len(names) > 0 && names[len(names)-1] != nil
	}
}

// FuzzSkim compares with encoding/json.
func FuzzSkim(f *testing.F) {
	for _, seed := range []string{
		`{"choices":[{"index":0,"delta":{"content":"a\"\u00e9"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":3}}}`,
		`{"error":{"message":"x"}}`, `{"error":null,"data":[1,{}]}`, `{"timings":{"cache_n":4}}`, `{"choices":[{"text":"a","delta":{"tool_calls":[{}],"reasoning":"b"}}]}`,
		`{"usage":{"prompt_tokens":-0}}`, `{"usage":[],"choices":{}}`, ` {"a" : [ true , false, null, 1.5E+7 ] } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var s skim
		err := s.read(in)
		if err == nil && !json.Valid(in) {
			t.Fatal("taken, but encoding/json refuses it")
		}
		var root map[string]any
		d := json.NewDecoder(bytes.NewReader(in))
		d.UseNumber()
		if !json.Valid(in) || d.Decode(&root) != nil || root == nil || !plain(in) {
			return
		}
		usage, _ := root["usage"].(map[string]any)
		details, _ := usage["prompt_tokens_details"].(map[string]any)
		timings, _ := root["timings"].(map[string]any)
		prompt, ok1 := count(usage, "prompt_tokens")
		answered, ok2 := count(usage, "completion_tokens")
		_, ok3 := count(details, "cached_tokens")
		_, ok4 := count(timings, "cache_n")
		if !ok1 || !ok2 || !ok3 || !ok4 || errors.Is(err, errJSON) && strings.Contains(err.Error(), "deeper") {
			if err == nil {
				t.Fatal("a count that is none was taken")
			}
			return
		}
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		output, finish := false, false
		list, _ := root["choices"].([]any)
		for _, c := range list {
			choice, _ := c.(map[string]any)
			delta, _ := choice["delta"].(map[string]any)
			calls, _ := delta["tool_calls"].([]any)
			output = output || len(calls) > 0 || slices.ContainsFunc([]any{choice["text"], delta["content"], delta["reasoning"], delta["reasoning_content"]},
				func(v any) bool { text, ok := v.(string); return ok && text != "" })
			_, is := choice["finish_reason"].(string)
			finish = finish || is
		}
		failed := false
		switch root["error"].(type) {
		case string, map[string]any:
			failed = true
		case []any:
			failed = len(root["error"].([]any)) > 0
		}
		vectors, _ := root["data"].([]any)
		if s.usage != (usage != nil) || s.prompt != prompt || s.answered != answered || s.output != output || (s.finish != nil) != finish || s.failed != failed || s.vectors != len(vectors) {
			t.Fatalf("%+v of %s", s, in)
		}
	})
}

func cut(t *testing.T, pieces ...string) (list []string, err error) {
	t.Helper()
	var e events
	for _, p := range pieces {
		if err = e.feed([]byte(p), func(data []byte) error { list = append(list, string(data)); return nil }); err != nil {
			return list, err
		}
	}
	return list, nil
}

func TestEvents(t *testing.T) {
	in := ": ping\n\ndata: {\"a\":1}\n\nevent: x\r\ndata:two\r\ndata: lines\r\n\r\n\n\nid: 7\nretry: 1\ndata\n\ndata: [DONE]\n\n"
	want := []string{`{"a":1}`, "two\nlines", "", "[DONE]"}
	for size := 1; size <= len(in); size++ {
		var pieces []string
		for rest := in; rest != ""; rest = rest[min(size, len(rest)):] {
			pieces = append(pieces, rest[:min(size, len(rest))])
		}
		if list, err := cut(t, pieces...); err != nil || !slices.Equal(list, want) {
			t.Fatalf("in pieces of %d: %q, %v", size, list, err)
		}
	}
	for _, bad := range []string{"{\"a\":1}\n", "<html>\n", "data : x\n", strings.Repeat("x", maxEvent+1), "data: " + strings.Repeat("x", maxEvent) + "\n",
		strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", maxEvent/1000)} {
		if list, err := cut(t, bad); err == nil {
			t.Errorf("%.30q was taken as %d events", bad, len(list))
		}
	}
	if _, err := cut(t, "data: "+strings.Repeat("x", maxEvent-10), strings.Repeat("x", 20)+"\n"); err == nil {
		t.Error("a long line in two pieces was taken")
	}
}

// still is a connection of which only deadlines are wanted.
type still struct{ net.Conn }

func (still) SetReadDeadline(time.Time) error { return nil }

// FuzzStream reads any answer as a stream: it ends, and says how.
func FuzzStream(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"usage\":{\"prompt_tokens\":3}}\n\ndata: [DONE]\n\n"), 5)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n0\r\n\r\n"), 1)
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n"), 100)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		if size < 1 || size > 4096 {
			return
		}
		o := Options{Workload: Workload{Turns: 2}}
		deltas := 0
		c := newClient(&o, &target{}, func(time.Time) { deltas++ })
		c.conn, c.call = still{}, &Call{}
		c.read = bufio.NewReaderSize(smallReader{bytes.NewReader(in), size}, readBuffer)
		if c.response.Begin(c.read) != nil {
			return
		}
		c.stream()
		if c.call.Deltas != deltas || deltas > 0 && (len(c.call.Gaps) != deltas-1 || c.call.First.IsZero()) {
			t.Fatalf("%d deltas: %+v", deltas, c.call)
		}
		if c.call.Failure == "" && (!c.finished || !c.usage || !bytes.Contains(in, []byte("[DONE]"))) {
			t.Fatalf("a success: %+v", c.call)
		}
	})
}

// smallReader gives at most size bytes at a time.
type smallReader struct {
	r    io.Reader
	size int
}

func (r smallReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), r.size)]) }
