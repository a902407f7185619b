package requests_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"serval"
	"serval/batch/requests"
	"serval/internal/testkit"
	"serval/protocol"
	"serval/store/postgres"
)

// What a cutter does with the next COMMIT.
const (
	letThrough = iota
	loseAnswer // the server does it, and the client never hears of it
	loseCommit // the server never hears of it
)

// cutter stands between a client and PostgreSQL.
type cutter struct {
	next atomic.Int32
	cuts atomic.Int32
}

func (c *cutter) listen(t *testing.T, port int) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
			if err != nil {
				_ = client.Close()
				return
			}
			go c.pipe(client, server)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func (c *cutter) pipe(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	var cut atomic.Bool
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if cut.Load() || err != nil { // the answer is here: it was done
				_ = client.Close()
				_ = server.Close()
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	for head := 4; ; head = 5 { // the first message has no type
		buf := make([]byte, head)
		if _, err := io.ReadFull(client, buf); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(buf[head-4:])
		body := make([]byte, n-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return
		}
		if head == 5 && buf[0] == 'Q' && strings.HasPrefix(string(body), "commit") {
			switch c.next.Swap(letThrough) {
			case loseCommit:
				c.cuts.Add(1)
				return
			case loseAnswer:
				c.cuts.Add(1)
				cut.Store(true)
			}
		}
		if _, err := server.Write(append(buf, body...)); err != nil {
			return
		}
	}
}

// TestLostCommit: where the answer to a COMMIT is lost, what was stored keeps its bytes and is acknowledged, and what may have been
// stored keeps them, too.
func TestLostCommit(t *testing.T) {
	real := testkit.Postgres(t)
	c := &cutter{}
	port := c.listen(t, real.Port)
	db, err := postgres.Open(t.Context(), strings.Replace(real.URL, fmt.Sprint(":", real.Port), fmt.Sprint(":", port), 1))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	owner, err := db.Identity(t.Context())
	if err != nil || len(owner) != 16 {
		t.Fatalf("%q %v", owner, err)
	}
	files := requests.NewFiles(requests.FilesOptions{Dir: dir, Rows: db, Owner: owner})
	s := requests.New(requests.Options{Dir: filepath.Join(dir, "batches"), Store: db, Jobs: db, Files: files, Most: 10, Longest: 1000, Log: log, Wake: func() {}, Owner: owner})
	add := func() (*protocol.File, error) {
		return files.AddFile(t.Context(), func(w io.Writer) (*protocol.File, error) {
			_, err := io.WriteString(w, `{"custom_id":"1","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":"x"}}`)
			return &protocol.File{Tenant: "a", Purpose: "batch", Name: "in"}, err
		})
	}
	count := func(pattern string) int {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		return len(found)
	}
	c.next.Store(loseAnswer)
	f, err := add()
	if err != nil || f.Created.IsZero() || f.Size == 0 {
		t.Fatalf("a file that was stored: %+v %v", f, err)
	}
	if _, r, err := files.OpenFile(t.Context(), "a", f.ID); err != nil {
		t.Errorf("its bytes are gone: %v", err)
	} else {
		_ = r.Close()
	}
	c.next.Store(loseCommit)
	if f, err := add(); serval.AsError(err).Code != serval.Unavailable || !errors.Is(err, requests.ErrUnknown) {
		t.Errorf("a file that was not stored: %+v %v", f, err)
	}
	if n, notes := count("file-*"), count(".pending-"+owner+"-file-*"); n != 2 || notes != 1 {
		t.Errorf("%d files and %d notes, want 2 and 1", n, notes)
	}
	submit := func(ctx context.Context) (*protocol.Batch, error) {
		b := &protocol.Batch{Tenant: "a", Endpoint: "/v1/embeddings", Input: f.ID, Window: "24h"}
		return b, s.SubmitBatch(ctx, b, "")
	}
	c.next.Store(loseAnswer)
	b, err := submit(t.Context())
	if err != nil || b.ID == "" || b.Created.IsZero() {
		t.Fatalf("a batch that was stored: %+v %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "batches", b.ID, "input")); err != nil {
		t.Errorf("its input is gone: %v", err)
	}
	c.next.Store(loseCommit)
	if b, err := submit(t.Context()); serval.AsError(err).Code != serval.Unavailable {
		t.Errorf("a batch that was not stored: %+v %v", b, err)
	}
	if list, err := db.OpenBatches(t.Context(), "a"); err != nil || len(list) != 1 || c.cuts.Load() != 4 {
		t.Errorf("%d batches, %v; %d commits were cut", len(list), err, c.cuts.Load())
	}
}
