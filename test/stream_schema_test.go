package test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"serval/internal/testkit"
)

// registryClient runs Confluent's own client, with its serialisers.
func registryClient(t *testing.T, in string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testkit.Cache(t, "venv-registry", "bin", "python"), append([]string{filepath.Join(testkit.Root(), "test", "python", "registry", "stream.py")}, args...)...)
	cmd.Env = append(cmd.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdin = strings.NewReader(in)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, said.String())
	}
	return string(out)
}

// TestStreamSchemas: what Confluent's clients write in Avro, Protobuf and JSON Schema is scored as plain JSON rows are, and they
// read the results with the schemas that the server registered. A registry that is away holds messages up, and loses none.
func TestStreamSchemas(t *testing.T) {
	t.Parallel()
	const n = 200
	k, registry := testkit.Kafka(t), testkit.Registry(t)
	plain := newBus(t, k, "plain")
	kinds := map[string]string{"avro": "avro", "protobuf": "protobuf", "json": "json_schema"}
	buses := map[string]*bus{}
	conf := fmt.Sprintf("log: {access: false}\nstreams:\n  plain:\n    model: tree\n    source: {kafka: {brokers: [%[1]s], topics: [%[2]s], group: g}}\n    target: {kafka: {brokers: [%[1]s], topic: %[3]s}}\n    %[4]s\n", k.Addr, plain.in, plain.out, rowsFormat)
	for kind, format := range kinds {
		b := newBus(t, k, kind)
		buses[kind] = b
		conf += fmt.Sprintf(`  %[1]s:
    model: tree
    source: {kafka: {brokers: [%[2]s], topics: [%[3]s], group: %[3]s, commit_interval: 100ms}}
    target: {kafka: {brokers: [%[2]s], topic: %[4]s}}
    dead_letter: {kafka: {brokers: [%[2]s], topic: %[5]s}}
    format: {%[6]s: {registry: {urls: ['%[7]s']}, columns: [c0, c1, c2, c3, c4, c5], pass: [id], subject: %[4]s-value}}
    retry: {min: 10ms, max: 200ms}
`, kind, k.Addr, b.in, b.out, b.dead, format, registry.URL)
	}
	file := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, file, conf)
	s := serveStream(t, true, streamModels(t), "", file)
	var rows strings.Builder
	for i := range n {
		rows.Write(record(i).Value)
		rows.WriteByte('\n')
	}
	plain.send(t, records(0, n)...)
	reaches(t, s, "serval_stream_written_total", n, `stream="plain"`)
	_, scores := tally(t, plain.all(t, plain.out), n)
	for kind, b := range buses {
		registryClient(t, rows.String(), "produce", k.Addr, registry.URL, b.in, kind, strconv.Itoa(n))
		reaches(t, s, "serval_stream_written_total", n, `stream="`+kind+`"`)
		if kind == "protobuf" { // they need a class for each message; the unit tests read these
			for _, r := range b.all(t, b.out) {
				if len(r.Value) < 7 || r.Value[0] != 0 || r.Value[5] != 0 || !strings.Contains(string(r.Value), "tree") {
					t.Fatalf("a result is %x", r.Value)
				}
			}
			continue
		}
		results := registryClient(t, "", "consume", k.Addr, registry.URL, b.out, kind, strconv.Itoa(n))
		seen := 0
		for line := range strings.Lines(results) {
			var r scored
			var prediction struct {
				Prediction map[string]float64
			}
			if json.Unmarshal([]byte(line), &r) != nil || json.Unmarshal([]byte(line), &prediction) != nil || r.ID >= n {
				t.Fatalf("%s: a result is %s", kind, line)
			}
			seen++
			want, _ := strconv.ParseFloat(scores[r.ID], 64)
			if got := prediction.Prediction["output__0"]; float32(got) != float32(want) || r.Model != "tree" || r.Version != "1" {
				t.Errorf("%s: row %d is %s; online it is scored %v", kind, r.ID, line, want)
			}
		}
		if seen != n {
			t.Errorf("%s: %d results", kind, seen)
		}
	}
	// An id that the registry does not know, and bytes that are not what the schema says, are dead letters.
	b := buses["avro"]
	good := b.all(t, b.in)[0].Value
	b.send(t, &kgo.Record{Value: binary.BigEndian.AppendUint32([]byte{0}, 4711)}, &kgo.Record{Value: good[:7]}, &kgo.Record{Value: []byte(`{"id":1}`)})
	reaches(t, s, "serval_stream_dead_letters_total", 3, `stream="avro"`)
	if got := sample(t, s, "serval_stream_dead_letters_total", `code="invalid_argument"`); got != 3 {
		t.Errorf("%v dead letters are invalid_argument", got)
	}
	// With the registry away what is known goes on; another server, which knows nothing, waits and says so.
	registry.Kill()
	b.send(t, &kgo.Record{Value: good})
	reaches(t, s, "serval_stream_written_total", n+1, `stream="avro"`)
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s = serveStream(t, true, streamModels(t), "", file)
	b.send(t, &kgo.Record{Value: good})
	s.Await("a word about the registry", func() bool {
		return strings.Contains(ask(t, "GET", "http://"+s.Admin+"/api/v1/streams/avro", "").body, "the schema registry at "+registry.URL)
	})
	if got := sample(t, s, "serval_stream_dead_letters_total", `stream="avro"`); got != 0 {
		t.Errorf("%v dead letters while the registry is away", got)
	}
}
