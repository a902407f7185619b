package requests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"serval"
)

// TestJournal: whatever a kill cut, each answer counts once, and what a worker writes that has lost its piece counts for nothing.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	count := func() map[uint32]string {
		t.Helper()
		m := map[uint32]string{}
		if _, err := answered(dir, 3, false, func(e *entry) {
			if _, twice := m[e.line]; twice {
				t.Errorf("line %d is answered twice", e.line)
			}
			m[e.line] = fmt.Sprint(string(e.text), e.failed, e.usage.Prompt, e.usage.Cached, e.usage.Completion, e.usage.Reasoning)
		}); err != nil {
			t.Fatal(err)
		}
		return m
	}
	begin := func(fence int64, known int) *journal {
		t.Helper()
		n := 0
		j, err := openJournal(dir, 3, fence, func(*entry) { n++ })
		if err != nil || n != known {
			t.Fatalf("fence %d finds %d answers, want %d: %v", fence, n, known, err)
		}
		return j
	}
	add := func(j *journal, line uint32, text string) {
		t.Helper()
		if err := j.add(&entry{line: line, text: []byte(text), failed: line%2 == 0, usage: serval.Usage{Prompt: 1, Cached: 2, Completion: 3, Reasoning: 4}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(count()) != 0 {
		t.Error("answers out of nothing")
	}
	one := begin(2, 0)
	add(one, 1, "one")
	add(one, 2, "")
	path := filepath.Join(dir, segmentName(3, 2))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole { // a kill in the middle of a write
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := len(count()), cut/(entryHead+3); got != min(want, 1) {
			t.Errorf("%d of %d bytes: %d answers", cut, len(whole), got)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	two := begin(5, 2)
	if one.f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err != nil {
		t.Fatal(err)
	}
	add(one, 3, "late") // it does not know yet
	add(two, 3, "three")
	add(one, 4, "late")
	if got := count(); len(got) != 3 || got[3] != "threefalse 1 2 3 4" || got[2] != "true 1 2 3 4" {
		t.Errorf("%v", got)
	}
	three := begin(9, 3)
	add(two, 4, "late")
	add(three, 4, "four")
	if got := count(); len(got) != 4 || got[4] != "fourtrue 1 2 3 4" {
		t.Errorf("%v", got)
	}
	if _, err := openJournal(dir, 3, 9, func(*entry) {}); err == nil {
		t.Error("two workers with one fence")
	}
	if err := three.close(); err != nil {
		t.Error(err)
	}
	if list, err := pieces(dir); err != nil || len(list) != 1 || list[0] != 3 {
		t.Errorf("%v %v", list, err)
	}
}

// TestDamage: what a disk has damaged is asked again, and is an error only to who wants all of it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	for fence := int64(1); fence <= 2; fence++ {
		j, err := openJournal(dir, 1, fence, func(*entry) {})
		if err != nil {
			t.Fatal(err)
		}
		for line := range uint32(3) {
			if err := j.add(&entry{line: 10*uint32(fence) + line, text: []byte("text")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, segmentName(1, 1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole[entryHead+4+entryHead] ^= 1 // the second entry's text
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := answered(dir, 1, false, func(*entry) {}); err == nil {
		t.Error("a damaged segment is whole")
	}
	known := map[uint32]int{}
	j, err := openJournal(dir, 1, 3, func(e *entry) { known[e.line]++ })
	if err != nil || fmt.Sprint(known) != "map[10:1 20:1 21:1 22:1]" {
		t.Fatalf("%v %v", known, err)
	}
	for _, line := range []uint32{11, 12} {
		if err := j.add(&entry{line: line, text: []byte("again")}); err != nil {
			t.Fatal(err)
		}
	}
	clear(known)
	if _, err := answered(dir, 1, false, func(e *entry) { known[e.line]++ }); err != nil || fmt.Sprint(known) != "map[10:1 11:1 12:1 20:1 21:1 22:1]" {
		t.Errorf("%v %v", known, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	clear(known)
	if _, err := answered(dir, 1, true, func(e *entry) { known[e.line]++ }); err != nil || len(known) != 5 {
		t.Errorf("without a segment: %v %v", known, err)
	}
}

func FuzzSegment(f *testing.F) {
	f.Add(appendEntry(nil, &entry{line: 7, text: []byte(`{"id":1}`)}))
	f.Add(appendEntry(appendEntry(nil, &entry{line: 7}), &entry{line: 8, failed: true, text: make([]byte, 300)}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "s"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		end, err := readSegment(dir, "s", -1, func(e *entry) { total += int64(len(e.text)) + entryHead })
		if err != nil || end != total || end > int64(len(raw)) {
			t.Errorf("%d of %d bytes, entries of %d: %v", end, len(raw), total, err)
		}
	})
}
