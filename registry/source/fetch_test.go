package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
)

// onHub lays one model out on a hub and returns the path of its content in the storage.
func onHub(t *testing.T, data []byte, faults ...func(http.ResponseWriter, *http.Request, []byte)) (*hubDouble, string) {
	h := newHub(t)
	h.repo("acme/m", map[string][]byte{"m.gguf": data})
	path := "/blobs/" + digestOf(data)
	h.store.put(path, data, faults...)
	return h, path
}

func TestResumeWithinAPull(t *testing.T) {
	data := gguf(3<<20, 1)
	h, path := onHub(t, data, cut(1<<20), status(503), cut(500_000), status(429, "Retry-After", "7"))
	p, models := newQuick(Options{HubEndpoint: h.URL}), t.TempDir()
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Models: models}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, models, "m/1/m.gguf"), data) {
		t.Error("other bytes")
	}
	gets := h.store.gets(path)
	if len(gets) != 5 || gets[0].span != "" || gets[1].span != "bytes=1048576-" || gets[3].span != "bytes=1548576-" || gets[4].span != gets[3].span {
		t.Errorf("%+v", gets)
	}
	if len(p.waits) != 4 || p.waits[3] < 7*time.Second {
		t.Errorf("it waited %v", p.waits)
	}
	clean(t, models, "m")
}

func TestResumeOfAnEarlierPull(t *testing.T) {
	data := gguf(3<<20, 1)
	fails := []func(http.ResponseWriter, *http.Request, []byte){cut(2 << 20)}
	for range mostFailures {
		fails = append(fails, status(502))
	}
	h, path := onHub(t, data, fails...)
	models := t.TempDir()
	_, err := newQuick(Options{HubEndpoint: h.URL}).Pull(t.Context(), Request{Source: "hf:acme/m", Models: models})
	if code(err) != serval.Unavailable || !strings.Contains(err.Error(), "given up") || !strings.Contains(err.Error(), "502") || strings.Contains(err.Error(), "secret") {
		t.Fatalf("%v", err)
	}
	clean(t, models, ".pull")
	h.store.put(path, data)
	p, before := newQuick(Options{HubEndpoint: h.URL}), len(h.store.gets(path))
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Models: models}); err != nil {
		t.Fatal(err)
	}
	if gets := h.store.gets(path)[before:]; len(gets) != 1 || gets[0].span != "bytes=2097152-" {
		t.Errorf("%+v", gets)
	}
	if !bytes.Equal(content(t, models, "m/1/m.gguf"), data) {
		t.Error("other bytes")
	}
	clean(t, models, "m")
}

// A stop in the middle keeps what there is, for a file with a digest and for one without.
func TestStopAndGoOn(t *testing.T) {
	data := gguf(4<<20, 1)
	for _, kind := range []string{"hub", "web"} {
		t.Run(kind, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			models := t.TempDir()
			h, path := onHub(t, data, func(w http.ResponseWriter, r *http.Request, data []byte) {
				w.Header().Set("Content-Length", fmt.Sprint(len(data)))
				_, _ = w.Write(data[:2<<20])
				w.(http.Flusher).Flush()
				for sizeOf(models) < 2<<20 && r.Context().Err() == nil { // until it is on the disk
					time.Sleep(time.Millisecond)
				}
				stop()
				<-r.Context().Done()
			})
			text := "hf:acme/m"
			if kind == "web" {
				path = "/m.gguf"
				h.store.put(path, data, h.store.faults["/blobs/"+digestOf(data)]...)
				text = h.store.URL + path
			}
			p := newQuick(Options{HubEndpoint: h.URL})
			_, err := p.Pull(ctx, Request{Source: text, Models: models})
			if code(err) != serval.Canceled || !strings.Contains(err.Error(), "goes on from there") {
				t.Fatalf("%v", err)
			}
			before := len(h.store.gets(path))
			got, err := p.Pull(t.Context(), Request{Source: text, Models: models})
			if err != nil || got.Verified != (kind == "hub") {
				t.Fatalf("%+v %v", got, err)
			}
			gets := h.store.gets(path)[before:]
			if len(gets) != 1 || gets[0].span != "bytes=2097152-" || (gets[0].ifRange != "") != (kind == "web") {
				t.Errorf("%+v", gets)
			}
			if !bytes.Equal(content(t, models, "m/1/m.gguf"), data) {
				t.Error("other bytes")
			}
			clean(t, models, "m")
		})
	}
}

func TestContentChangesUnderAPull(t *testing.T) {
	old, fresh := gguf(2<<20, 1), gguf(2<<20+5, 2)
	s, models := newStorage(t), t.TempDir()
	s.put("/m.gguf", old, func(w http.ResponseWriter, r *http.Request, data []byte) {
		s.mu.Lock()
		s.files["/m.gguf"] = fresh
		s.mu.Unlock()
		cut(1<<20)(w, r, data)
	})
	p := newQuick(Options{})
	if _, err := p.Pull(t.Context(), Request{Source: s.URL + "/m.gguf", Models: models}); err != nil {
		t.Fatal(err)
	}
	gets := s.gets("/m.gguf")
	if len(gets) != 2 || gets[1].span == "" || gets[1].ifRange == "" {
		t.Errorf("%+v", gets)
	}
	if !bytes.Equal(content(t, models, "m/1/m.gguf"), fresh) {
		t.Error("it is not the new content")
	}
	if got, err := p.Pull(t.Context(), Request{Source: s.URL + "/m.gguf", Models: models}); err != nil || got.Fresh {
		t.Errorf("%+v %v", got, err)
	}
	s.put("/m.gguf", old)
	if _, err := p.Pull(t.Context(), Request{Source: s.URL + "/m.gguf", Models: models}); code(err) != serval.Conflict || !strings.Contains(err.Error(), "now gives something else") {
		t.Errorf("%v", err)
	}
}

func TestServerWithoutRanges(t *testing.T) {
	data := gguf(2<<20, 1)
	whole := func(w http.ResponseWriter, _ *http.Request, data []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data)
	}
	other := func(w http.ResponseWriter, _ *http.Request, data []byte) { // the wrong part
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-%d/%d", len(data)-1, len(data)))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(data[5:])
	}
	h, _ := onHub(t, data, cut(1<<20), other, status(http.StatusRequestedRangeNotSatisfiable), cut(1<<20), whole)
	p, models := newQuick(Options{HubEndpoint: h.URL}), t.TempDir()
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Models: models}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, models, "m/1/m.gguf"), data) || !strings.Contains(p.said.String(), "beginning anew") {
		t.Errorf("it said %q", p.said.String())
	}
}

func TestWrongBytes(t *testing.T) {
	data, wrong := gguf(2<<20, 1), gguf(2<<20, 9)
	bad := func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(wrong))
	}
	h, path := onHub(t, data, bad)
	p, models := newQuick(Options{HubEndpoint: h.URL}), t.TempDir()
	_, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Models: models})
	if err == nil || !strings.Contains(err.Error(), digestOf(wrong)) || !strings.Contains(err.Error(), digestOf(data)) || !strings.Contains(err.Error(), "removed") {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(models, "m")); err == nil {
		t.Error("a model is there")
	}
	// Of two attempts, one of other content: the whole is wrong and is fetched once more.
	h.store.put(path, data, cut(1<<20), bad)
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Models: models}); err != nil || !bytes.Equal(content(t, models, "m/1/m.gguf"), data) {
		t.Errorf("%v; it said %q", err, p.said.String())
	}
	// A digest that the user gives.
	s := newStorage(t)
	s.put("/x.gguf", data)
	if _, err := p.Pull(t.Context(), Request{Source: s.URL + "/x.gguf", Models: models, SHA256: digestOf(wrong)}); err == nil || !strings.Contains(err.Error(), "removed") {
		t.Errorf("%v", err)
	}
	if got, err := p.Pull(t.Context(), Request{Source: s.URL + "/x.gguf", Models: models, SHA256: strings.ToUpper(digestOf(data))}); err != nil || !got.Verified {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := p.Pull(t.Context(), Request{Source: s.URL + "/x.gguf", Models: models, SHA256: "abc"}); code(err) != serval.InvalidArgument {
		t.Errorf("%v", err)
	}
}

func TestHostileServers(t *testing.T) {
	data := gguf(1000, 1)
	endless := func(announce int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if announce > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", announce-1, announce))
			}
			if r.Method == http.MethodHead {
				if announce > 0 {
					w.Header().Set("Content-Length", fmt.Sprint(announce))
				}
				return
			}
			w.(http.Flusher).Flush() // no length
			for {
				if _, err := w.Write(gguf(1<<20, 1)); err != nil {
					return
				}
			}
		}
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		words string
	}{
		"redirect loop":       {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "redirects more than"},
		"endless":             {endless(0), "make room"},
		"more than announced": {endless(5000), "more is sent than the 5000"},
		"a page": {func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "<html>sign in", http.StatusOK)
			w.Header()
		}, "begins with GGUF"},
		"html": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		}, "page for people"},
		"gone": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "\x1b[31mno\x1b[0m", http.StatusNotFound) }, "404 Not Found: [31mno[0m"},
		"file:": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(302)
		}, "unsupported protocol"},
		"long wait": {func(w http.ResponseWriter, r *http.Request) { status(429, "Retry-After", "86400")(w, r, nil) }, "24h"},
		"silent": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			if r.Method == http.MethodHead {
				return
			}
			_, _ = w.Write(data[:10])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "it sent nothing for"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.serve)
			defer s.Close()
			p, models := newQuick(Options{}), t.TempDir()
			p.stall = 50 * time.Millisecond
			p.free = func(dir string) (int64, bool) { return spare + 100<<20 - sizeOf(dir), true }
			_, err := p.Pull(t.Context(), Request{Source: s.URL + "/m.gguf", Models: models})
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(filepath.Join(models, "m")); err == nil {
				t.Error("a model is there")
			}
			if n := sizeOf(models); n > 1<<20 {
				t.Errorf("%d bytes are left behind", n)
			}
		})
	}
}

// sizeOf is how many bytes lie below a folder.
func sizeOf(dir string) (n int64) {
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

func TestNoWayFromHTTPSToHTTP(t *testing.T) {
	plain := newStorage(t)
	plain.put("/m.gguf", gguf(10, 1))
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/m.gguf", http.StatusFound))
	defer secure.Close()
	p := newQuick(Options{})
	p.client.Transport = secure.Client().Transport
	_, err := p.Pull(t.Context(), Request{Source: secure.URL + "/m.gguf", Models: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "from https to http") || len(plain.log) != 0 {
		t.Errorf("%v", err)
	}
}

func TestDiskSpace(t *testing.T) {
	h, path := onHub(t, gguf(1<<20, 1))
	p, models := newQuick(Options{HubEndpoint: h.URL}), t.TempDir()
	p.free = func(string) (int64, bool) { return spare + 1<<20 - 1, true }
	_, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Models: models})
	if code(err) != serval.ResourceExhausted || !strings.Contains(err.Error(), "takes 1.0 MB more") || len(h.store.gets(path)) != 0 {
		t.Errorf("%v", err)
	}
	p.free = func(string) (int64, bool) { return spare + 1<<20, true }
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Models: models}); err != nil {
		t.Error(err)
	}
	if free, known := freeSpace(models); !known || free <= 0 {
		t.Errorf("statfs: %d %v", free, known)
	}
}

// Many pulls of one model make one download; whoever watches the folder sees nothing or all of it.
func TestManyAtOnce(t *testing.T) {
	data := gguf(4<<20, 1)
	h, path := onHub(t, data)
	models := t.TempDir()
	done := make(chan struct{})
	var watcher, pulls sync.WaitGroup
	watcher.Go(func() {
		for {
			if info, err := os.Stat(filepath.Join(models, "m")); err == nil {
				got, err := os.ReadFile(filepath.Join(models, "m", "1", "m.gguf"))
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("a watcher saw %s half done: %d bytes, %v", info.Name(), len(got), err)
				}
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	fresh := make(chan bool, 8)
	for range 8 {
		pulls.Go(func() {
			got, err := newQuick(Options{HubEndpoint: h.URL}).Pull(t.Context(), Request{Source: "hf:acme/m", Models: models})
			if err != nil {
				t.Error(err)
			}
			fresh <- got.Fresh
		})
	}
	pulls.Wait()
	close(done)
	watcher.Wait()
	close(fresh)
	n := 0
	for f := range fresh {
		if f {
			n++
		}
	}
	if n != 1 || len(h.store.gets(path)) != 1 {
		t.Errorf("%d pulls were fresh, the content was asked for %d times", n, len(h.store.gets(path)))
	}
	clean(t, models, "m")
}

func TestWhatIsThereStays(t *testing.T) {
	h, _ := onHub(t, gguf(1000, 1))
	p, models := newQuick(Options{HubEndpoint: h.URL}), t.TempDir()
	if err := os.MkdirAll(filepath.Join(models, "m", "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Models: models}); code(err) != serval.Conflict || !strings.Contains(err.Error(), "was not pulled") {
		t.Errorf("%v", err)
	}
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Name: "n", Models: models}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(models, "n", "1", "m.gguf")
	if err := os.WriteFile(file, []byte("GGUF"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Name: "n", Models: models}); code(err) != serval.Conflict || !strings.Contains(err.Error(), "1/m.gguf was changed") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"a:b", "../x", ".x", "_x", "a/b", strings.Repeat("a", 200)} {
		if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Name: name, Models: models}); code(err) != serval.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := filepath.Join(models, keep, "forgotten.part")
	if err := errors.Join(os.MkdirAll(filepath.Dir(old), 0o755), os.WriteFile(old, nil, 0o644), os.Chtimes(old, time.Time{}, time.Now().Add(-keepFor-time.Hour))); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/m", Name: "o", Models: models}); err != nil {
		t.Fatal(err)
	}
	clean(t, models, "m", "n", "o")
}

// What was pulled is known without asking its source again, and a pull can be watched.
func TestThereAndWatched(t *testing.T) {
	data := gguf(700_000, 1)
	h, _ := onHub(t, data)
	p, models := newQuick(Options{HubEndpoint: h.URL}), t.TempDir()
	var digest string
	var last, of int64
	req := Request{Source: "hf:acme/m", Models: models, Watch: func(sum string, done, total int64) { digest, last, of = sum, done, total }}
	if _, there := p.There(req); there {
		t.Error("it is there before it was pulled")
	}
	want, err := p.Pull(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if digest != digestOf(data) || last != int64(len(data)) || of != last {
		t.Errorf("watched: %s, %d of %d", digest, last, of)
	}
	asked := len(h.log)
	want.Fresh = false
	if got, there := p.There(req); !there || got != want || len(h.log) != asked {
		t.Errorf("%+v %v, and the hub was asked %d times", got, there, len(h.log)-asked)
	}
	for _, other := range []Request{{Source: "hf:acme/m:Q8_0", Models: models}, {Source: "hf:acme/m", Name: "n", Models: models}, {Source: "hf:acme", Models: models}} {
		if got, there := p.There(other); there {
			t.Errorf("%s: %+v", other.Source, got)
		}
	}
	if name, err := p.ModelName("hf:acme/Big-GGUF:Q4_0"); name != "big" || err != nil {
		t.Errorf("%q %v", name, err)
	}
	if _, err := p.ModelName("hf:acme"); code(err) != serval.InvalidArgument {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(models, "m", "1", "m.gguf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, there := p.There(req); there {
		t.Error("it was changed")
	}
}

func TestProgress(t *testing.T) {
	if got, want := gaugeText(1_200_000_000, 4_800_000_000, 400_000_000, 10*time.Second, false), "1.2 GB of 4.8 GB, 25 %, 40.0 MB/s, 1m30s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := gaugeText(50, 100, 0, 0, true), "["+strings.Repeat("█", 14)+strings.Repeat("░", 14)+"] 0.1 kB of 0.1 kB, 50 %, 0.0 kB/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
