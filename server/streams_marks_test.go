package server

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"serval/stream"
)

// TestMarks: what was marked is known, now and after the file was read again, and nothing else is; also where a crash cut the
// file's last line off.
func TestMarks(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 9))
	path := filepath.Join(t.TempDir(), "control", "marks")
	want := map[stream.Position]bool{}
	positions := func(n int) (list []stream.Position) {
		for range n {
			p := stream.Position{Topic: "t", Partition: int32(random.IntN(3)), Offset: int64(random.IntN(500))}
			if random.IntN(10) == 0 {
				p = stream.Position{Topic: "t", ID: string(rune('a' + random.IntN(26)))}
			}
			list = append(list, p)
		}
		return list
	}
	check := func(m *marks) {
		t.Helper()
		for _, p := range append(positions(500), stream.Position{Topic: "u"}, stream.Position{Topic: "t", Partition: 7}) {
			if m.has(p) != want[p] {
				t.Fatalf("%s: %v", p, m.has(p))
			}
		}
		for _, list := range m.known {
			for i := range list {
				if list[i].from >= list[i].to || i > 0 && list[i-1].to >= list[i].from {
					t.Fatalf("the stretches are %v", list)
				}
			}
		}
	}
	for round := range 8 {
		m, err := openMarks(path)
		if err != nil {
			t.Fatal(err)
		}
		check(m)
		for _, p := range positions(120) {
			want[p] = true
			m.add(p)
			if random.IntN(20) == 0 {
				if err := m.flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		check(m)
		if err := m.close(false); err != nil {
			t.Fatal(err)
		}
		if round == 3 { // as after a crash: a line without its end
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(`{"topic":"t","to":49`); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
	}
	m, err := openMarks(path)
	if err != nil {
		t.Fatal(err)
	}
	check(m)
	if n := m.count(); m.lines > 2*n+120 {
		t.Errorf("%d lines for %d stretches", m.lines, n)
	}
	if err := m.close(true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

// FuzzMarks: whatever is in the file, it is read.
func FuzzMarks(f *testing.F) {
	f.Add([]byte(`{"topic":"t","from":3,"to":9}` + "\n" + `{"id":"x"}` + "\n{}\n" + `{"topic":"t","from":-3,"to":4}`))
	f.Add([]byte(`{"topic":"t","from":9,"to":3}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(dir, "marks")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := openMarks(path)
		if err != nil {
			t.Fatal(err)
		}
		p := stream.Position{Topic: "t", Offset: 5}
		m.add(p)
		if !m.has(p) {
			t.Error("what was added is not there")
		}
		if err := m.close(false); err != nil {
			t.Fatal(err)
		}
		if m, err = openMarks(path); err != nil || !m.has(p) {
			t.Errorf("what was added is not there any more (%v)", err)
		}
	})
}

// FuzzPosition: what a position says of itself is read as the same one.
func FuzzPosition(f *testing.F) {
	f.Add("applicants/0@1200")
	f.Add("a/b/3@4@5")
	f.Add("t@id")
	f.Add("t/-1@5")
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parsePosition(text)
		if !ok {
			return
		}
		if again, ok := parsePosition(p.String()); !ok || again != p {
			t.Errorf("%q is %+v, and that is %+v", text, p, again)
		}
	})
}
