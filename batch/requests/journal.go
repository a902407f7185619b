package requests

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"serval"
)

// A worker writes what was answered into a segment of its own, whose name has the fence of its lease. When it begins it notes
// which part of the segments before it counts (its base): what an earlier worker, which has lost the piece without knowing it,
// still appends to its own is behind that, and counts for nothing. So no request has two answers, without any lock.

// entry is one answer in a segment.
type entry struct {
	line   uint32 // of the input
	failed bool   // it goes into the error file
	usage  serval.Usage
	text   []byte // the line of the output, without its end

	segment string // where it lies
	offset  int64  // of its text
	size    uint32
}

// The head of an entry: magic, size of the text, line, failed, four counts of tokens, and a checksum of all that and the text.
const (
	entryMagic = 0x51e44a1
	entryHead  = 36
)

func appendEntry(buf []byte, e *entry) []byte {
	failed := uint32(0)
	if e.failed {
		failed = 1
	}
	begin := len(buf)
	for _, v := range [...]uint32{entryMagic, uint32(len(e.text)), e.line, failed, uint32(e.usage.Prompt), uint32(e.usage.Cached), uint32(e.usage.Completion), uint32(e.usage.Reasoning)} {
		buf = binary.LittleEndian.AppendUint32(buf, v)
	}
	sum := crc32.Update(crc32.ChecksumIEEE(buf[begin:]), crc32.IEEETable, e.text)
	return append(binary.LittleEndian.AppendUint32(buf, sum), e.text...)
}

// part is how much of a segment counts.
type part struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// readSegment calls take for each whole entry of the first size bytes (-1: all), and says where the last one ends. text is only
// valid during the call. An entry that a kill has cut is the end.
func readSegment(dir, name string, size int64, take func(*entry)) (int64, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if size < 0 {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		size = info.Size()
	}
	r := bufio.NewReaderSize(io.LimitReader(f, size), 256<<10)
	var head [entryHead]byte
	var text []byte
	at := int64(0)
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return at, ended(err)
		}
		v := func(i int) uint32 { return binary.LittleEndian.Uint32(head[4*i:]) }
		n := int64(v(1))
		if v(0) != entryMagic || n > size-at-entryHead {
			return at, nil
		}
		if int64(cap(text)) < n {
			text = make([]byte, n)
		}
		text = text[:n]
		if _, err := io.ReadFull(r, text); err != nil {
			return at, ended(err)
		}
		if crc32.Update(crc32.ChecksumIEEE(head[:entryHead-4]), crc32.IEEETable, text) != v(8) {
			return at, nil
		}
		take(&entry{line: v(2), failed: v(3) != 0, text: text, segment: name, offset: at + entryHead, size: uint32(n),
			usage: serval.Usage{Prompt: int64(v(4)), Cached: int64(v(5)), Completion: int64(v(6)), Reasoning: int64(v(7))}})
		at += entryHead + n
	}
}

// ended is nil for the end of a file, in the middle of an entry, too.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func segmentName(piece int, fence int64) string { return fmt.Sprintf("p%d.%d.seg", piece, fence) }
func baseName(piece int, fence int64) string    { return fmt.Sprintf("p%d.%d.base", piece, fence) }

// latest is the fence of the last worker of a piece that has noted its base; 0: there is none.
func latest(dir string, piece int) (int64, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	last := int64(0)
	for _, n := range names {
		var p int
		var fence int64
		if k, _ := fmt.Sscanf(n.Name(), "p%d.%d.base", &p, &fence); k == 2 && p == piece && n.Name() == baseName(p, fence) {
			last = max(last, fence)
		}
	}
	return last, nil
}

// pieces are the numbers of those with segments.
func pieces(dir string) ([]int, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	seen := map[int]bool{}
	var list []int
	for _, n := range names {
		var p int
		if k, _ := fmt.Sscanf(n.Name(), "p%d.", &p); k == 1 && strings.HasSuffix(n.Name(), ".base") && !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	return list, err
}

// answered reads what counts of a piece: each entry once, and the parts in which it lies. text is only valid during the call. What cannot
// be read any more of a part is an error, or with mend no answer: the part is shorter then.
func answered(dir string, piece int, mend bool, take func(*entry)) ([]part, error) {
	fence, err := latest(dir, piece)
	if err != nil || fence == 0 {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, baseName(piece, fence)))
	if err != nil {
		return nil, err
	}
	var parts []part
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, err
	}
	for i := range parts {
		end, err := readSegment(dir, parts[i].Name, parts[i].Size, take)
		if errors.Is(err, fs.ErrNotExist) && mend {
			err = nil
		}
		if err != nil {
			return nil, err
		}
		if end != parts[i].Size && !mend {
			return nil, fmt.Errorf("%s is damaged: %d of %d bytes can be read", parts[i].Name, end, parts[i].Size)
		}
		parts[i].Size = end
	}
	parts = slices.DeleteFunc(parts, func(p part) bool { return p.Size == 0 })
	own := part{Name: segmentName(piece, fence)}
	own.Size, err = readSegment(dir, own.Name, -1, take)
	if errors.Is(err, fs.ErrNotExist) { // killed before its first answer
		return parts, nil
	}
	return append(parts, own), err
}

// journal is the segment of a worker that is at it. Safe for concurrent use.
type journal struct {
	mu     sync.Mutex
	f      *os.File
	buf    []byte
	synced time.Time
	err    error
}

// openJournal begins a segment; take is called for each answer that there is already. What a disk has damaged is asked again.
func openJournal(dir string, piece int, fence int64, take func(*entry)) (*journal, error) {
	parts, err := answered(dir, piece, true, take)
	if err != nil {
		return nil, err
	}
	for i := range parts { // what is built upon must be on the disk
		if err := syncFile(filepath.Join(dir, parts[i].Name)); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(parts)
	if err != nil {
		return nil, err
	}
	if err := writeWhole(filepath.Join(dir, baseName(piece, fence)), raw); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, segmentName(piece, fence)), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{f: f, synced: time.Now()}, nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncEvery bounds what a machine without power has to ask again; a process that is killed loses nothing that was written.
const syncEvery = time.Second

// add appends an answer. After an error nothing more is: what follows would lie behind half an entry.
func (j *journal) add(e *entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.buf = appendEntry(j.buf[:0], e)
	if _, j.err = j.f.Write(j.buf); j.err == nil && time.Since(j.synced) > syncEvery {
		j.err, j.synced = j.f.Sync(), time.Now()
	}
	return j.err
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.err, j.f.Sync(), j.f.Close())
}
