package files

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"serval/stream"
	"serval/stream/streamtest"
	"serval/stream/streamtest/feed"
)

// sink is folders of this machine under the suite.
type sink struct{ root string }

func (s sink) Create(t *testing.T, place string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(s.root, place), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (s sink) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	o := defaults()
	o.Path, o.Format, o.RollEvery = filepath.Join(s.root, place)+"/date={date}", "jsonl", 50*time.Millisecond
	return Broker{}.Target(ctx, o, env)
}

func (s sink) All(t *testing.T, place string) (list []stream.Message) {
	t.Helper()
	for _, name := range tree(t, filepath.Join(s.root, place)) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, lines(t, raw)...)
	}
	slices.SortStableFunc(list, func(a, b stream.Message) int { return int(a.Position.Offset - b.Position.Offset) })
	return list
}

func (s sink) Down(t *testing.T, place string) func() {
	at := filepath.Join(s.root, place)
	if err := os.Rename(at, at+".away"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(at+".away", at); err != nil {
			t.Error(err)
		}
	}
}

func (s sink) Keeps() (headers, once bool) { return true, false }

// tree are the files below a folder that readers see.
func tree(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return fs.SkipDir
		case !d.IsDir():
			names = append(names, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// lines reads a file of JSON lines as messages.
func lines(t *testing.T, raw []byte) (list []stream.Message) {
	t.Helper()
	if len(raw) == 0 || raw[len(raw)-1] != '\n' {
		t.Errorf("a file that is cut off: %d bytes", len(raw))
	}
	s := bufio.NewScanner(bytes.NewReader(raw))
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var row struct {
			Value     json.RawMessage   `json:"value"`
			Key       *string           `json:"_key"`
			Topic     string            `json:"_topic"`
			Partition int32             `json:"_partition"`
			Offset    int64             `json:"_offset"`
			Headers   map[string]string `json:"_headers"`
		}
		if err := json.Unmarshal(s.Bytes(), &row); err != nil {
			t.Fatalf("%v: %s", err, s.Text())
		}
		m := stream.Message{Value: row.Value, Position: stream.Position{Topic: row.Topic, Partition: row.Partition, Offset: row.Offset}}
		if row.Key != nil {
			m.Key = []byte(*row.Key)
		}
		for k, v := range row.Headers {
			m.Headers = append(m.Headers, stream.Header{Key: k, Value: []byte(v)})
		}
		list = append(list, m)
	}
	return list
}

func TestConformance(t *testing.T) {
	streamtest.RunTarget(t, feed.NewNATS(t, false), sink{t.TempDir()})
}
