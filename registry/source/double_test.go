package source

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// seen is a request that a double was sent.
type seen struct{ method, path, span, ifRange, auth string }

// storage serves bytes by path with ETag, Range and If-Range, as the store behind a hub does. Faults stand before it.
type storage struct {
	*httptest.Server
	mu     sync.Mutex
	files  map[string][]byte
	log    []seen
	faults map[string][]func(http.ResponseWriter, *http.Request, []byte) // by path; each is used once, for a GET
}

func newStorage(t *testing.T) *storage {
	s := &storage{files: map[string][]byte{}, faults: map[string][]func(http.ResponseWriter, *http.Request, []byte){}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.log = append(s.log, seen{r.Method, r.URL.Path, r.Header.Get("Range"), r.Header.Get("If-Range"), r.Header.Get("Authorization")})
	data, ok := s.files[r.URL.Path]
	var fault func(http.ResponseWriter, *http.Request, []byte)
	if f := s.faults[r.URL.Path]; len(f) > 0 && r.Method == http.MethodGet {
		fault, s.faults[r.URL.Path] = f[0], f[1:]
	}
	s.mu.Unlock()
	if !ok {
		http.Error(w, "no such thing", http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", `"`+digestOf(data)[:16]+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	if fault != nil {
		fault(w, r, data)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (s *storage) put(path string, data []byte, faults ...func(http.ResponseWriter, *http.Request, []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path], s.faults[path] = data, faults
}

// gets are the GET requests for a path so far.
func (s *storage) gets(path string) (out []seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.log {
		if r.path == path && r.method == http.MethodGet {
			out = append(out, r)
		}
	}
	return out
}

// cut sends as much of what was asked for and then breaks the connection.
func cut(n int) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, data []byte) {
		http.ServeContent(&cutter{w, n}, r, "", time.Time{}, bytes.NewReader(data))
		panic(http.ErrAbortHandler)
	}
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.left -= n
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	if err == nil && n < len(p) {
		err = fmt.Errorf("cut")
	}
	return n, err
}

func status(code int, header ...string) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		http.Error(w, "a fault of the test", code)
	}
}

// hubDouble speaks the hub's protocol: lists with digests, answers that lead on to the storage, tokens.
type hubDouble struct {
	*httptest.Server
	store *storage
	mu    sync.Mutex
	repos map[string]map[string][]byte // by repository, by file
	token string                       // "" = none is asked for
	log   []seen
	plain bool // a mirror that lists names only
	lie   func(map[string]any)
}

const commit = "0123456789abcdef0123456789abcdef01234567"

func newHub(t *testing.T) *hubDouble {
	h := &hubDouble{store: newStorage(t), repos: map[string]map[string][]byte{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hubDouble) repo(name string, files map[string][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[name] = files
	for _, data := range files {
		h.store.put("/blobs/"+digestOf(data), data)
	}
}

// large says what lies in large-file storage, as the hub's .gitattributes do.
func large(name string) bool {
	return strings.Contains(name, ".gguf") || strings.Contains(name, ".onnx")
}

func (h *hubDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, seen{method: r.Method, path: r.URL.Path, auth: r.Header.Get("Authorization"), span: r.Header.Get("Range")})
	refuse := func(code int, word, message string) {
		w.Header().Set("X-Error-Code", word)
		w.Header().Set("X-Error-Message", message)
		w.WriteHeader(code)
	}
	if h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token {
		refuse(http.StatusUnauthorized, "GatedRepo", "Access to this model is restricted")
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/"); ok {
		name, revision, _ := strings.Cut(rest, "/revision/")
		files, ok := h.repos[name]
		switch {
		case !ok:
			refuse(http.StatusUnauthorized, "", "Invalid username or password.")
		case revision != "main" && revision != "v1" && revision != commit:
			refuse(http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		default:
			_ = json.NewEncoder(w).Encode(h.listing(files, r.URL.Query().Get("blobs") == "true" && !h.plain))
		}
		return
	}
	name, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/"+commit+"/")
	data, ok := h.repos[name][file]
	if !ok {
		refuse(http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if large(file) {
		w.Header().Set("X-Linked-Etag", `"`+digestOf(data)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		http.Redirect(w, r, h.store.URL+"/blobs/"+digestOf(data)+"?signature=secret", http.StatusFound)
		return
	}
	w.Header().Set("ETag", `"`+blobOf(data)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (h *hubDouble) listing(files map[string][]byte, blobs bool) map[string]any {
	list := []any{}
	for name, data := range files {
		s := map[string]any{"rfilename": name}
		if blobs {
			s["size"], s["blobId"] = len(data), blobOf(data)
			if large(name) {
				s["blobId"] = strings.Repeat("a", 40) // that of the pointer
				s["lfs"] = map[string]any{"sha256": digestOf(data), "size": len(data), "pointerSize": 133}
			}
		}
		if h.lie != nil {
			h.lie(s)
		}
		list = append(list, s)
	}
	return map[string]any{"id": "x", "sha": commit, "siblings": list}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func blobOf(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:])
}

// gguf makes bytes that begin as a GGUF file does.
func gguf(n int, seed uint64) []byte {
	out := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), 1})
	_, _ = r.Read(out)
	copy(out, "GGUF")
	return out
}

// quick makes a Puller that does not wait between attempts but notes how long it would.
type quick struct {
	*Puller
	mu    sync.Mutex
	waits []time.Duration
	said  bytes.Buffer
}

func newQuick(o Options) *quick {
	q := &quick{}
	if o.Progress == nil {
		o.Progress = &q.said
	}
	q.Puller = New(o)
	q.pause = func(ctx context.Context, d time.Duration) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.waits = append(q.waits, d)
		return ctx.Err()
	}
	return q
}

func content(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// clean checks that a models folder holds these models and nothing else, hidden files included.
func clean(t *testing.T, models string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(models)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the models folder holds %q, want %q", got, names)
	}
}
