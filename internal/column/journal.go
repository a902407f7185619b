package column

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"serval"
	"serval/batch"
)

// journal keeps rows of one group on the disk, in records: rows, length and checksum, then for each column its flags of missing
// values, if there are any, and its data.
type journal struct{ f *os.File }

const (
	journalSuffix = ".rows-"
	recordHead    = 4 + 4 + 8
)

func (p *Pending) journalPath(group int64) string {
	return p.path + journalSuffix + strconv.FormatInt(group, 10)
}

// removeJournals removes those of groups before one; -1: all.
func (p *Pending) removeJournals(before int64) error {
	found, err := filepath.Glob(globEscape(p.path) + journalSuffix + "*")
	for _, path := range found {
		group, wrong := strconv.ParseInt(strings.TrimPrefix(path, p.path+journalSuffix), 10, 64)
		if wrong == nil && (before < 0 || group < before) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

func globEscape(path string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(path)
}

func (j *journal) close() { _ = j.f.Close() } // what counts was synced

// Sync brings the rows that are not in the journal yet there, and it to the disk. The Mark before this one must be safe by now.
func (p *Pending) Sync() (PendingMark, error) {
	m := PendingMark{Group: p.Group, Rows: p.Rows}
	for _, c := range p.Columns {
		m.Columns = append(m.Columns, Schema{Name: c.Name, Type: c.DType.String(), Shape: c.Shape})
	}
	if err := p.removeJournals(max(0, p.kept)); err != nil {
		return m, err
	}
	p.kept = p.Group
	if p.logged == p.Rows {
		return m, nil
	}
	if p.journal == nil {
		f, err := os.OpenFile(p.journalPath(p.Group), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return m, err
		}
		p.journal = &journal{f}
		if err := syncFolder(filepath.Dir(p.path)); err != nil {
			return m, err
		}
	}
	if err := p.record(p.journal.f); err != nil {
		return m, err
	}
	p.logged = p.Rows
	return m, p.journal.f.Sync()
}

// record appends the rows that are not logged.
func (p *Pending) record(f *os.File) error {
	head := make([]byte, recordHead)
	sum, length := crc32.NewIEEE(), uint64(0)
	var parts [][]byte
	for i := range p.Columns {
		c := &p.Columns[i]
		flags := []byte{0}
		if c.Null != nil {
			flags[0] = 1
			for _, null := range c.Null[p.logged:p.Rows] {
				flags = append(flags, byte(bit(null)))
			}
		}
		data := c.Data[p.span(c, 0, p.logged):]
		size := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
		parts = append(parts, flags, size, data)
	}
	for _, part := range parts {
		length += uint64(len(part))
		_, _ = sum.Write(part) // it never fails
	}
	binary.LittleEndian.PutUint32(head, uint32(p.Rows-p.logged))
	binary.LittleEndian.PutUint32(head[4:], sum.Sum32())
	binary.LittleEndian.PutUint64(head[8:], length)
	w := bufio.NewWriterSize(f, 1<<20)
	for _, part := range append([][]byte{head}, parts...) {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Flush()
}

// Resume makes Pending of a Mark. Where its journal is gone, since the file was completed already, again reads the rows from the
// file; they are on the disk in a journal again when Resume returns.
func Resume(path string, most int, m PendingMark, again func(p *Pending) error) (*Pending, error) {
	p := &Pending{path: path, most: most, Group: m.Group, kept: m.Group}
	if m.Rows < 0 || m.Group < 0 || m.Rows >= most {
		return nil, fmt.Errorf("the checkpoint of %s is broken", path)
	}
	for _, c := range m.Columns {
		d, ok := serval.ParseDType(c.Type)
		if !ok {
			return nil, fmt.Errorf("the checkpoint of %s has a column of type %q", path, c.Type)
		}
		p.Columns = append(p.Columns, batch.Vector{Name: c.Name, DType: d, Shape: c.Shape})
	}
	if m.Rows > 0 {
		err := p.replay(m.Rows)
		if errors.Is(err, fs.ErrNotExist) {
			err = again(p)
		}
		if err == nil && p.Rows != m.Rows {
			err = fmt.Errorf("%d rows of %d are there", p.Rows, m.Rows)
		}
		if err != nil {
			return nil, fmt.Errorf("%s cannot be gone on with: %w", path, err)
		}
	}
	return p, p.rewrite()
}

// rewrite makes a journal of exactly the rows that there are.
func (p *Pending) rewrite() error {
	if p.Rows > 0 {
		path := p.journalPath(p.Group)
		f, err := os.Create(path + ".new")
		if err != nil {
			return err
		}
		err = errors.Join(p.record(f), f.Sync())
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err == nil {
			err = syncFolder(filepath.Dir(path))
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
		p.journal, p.logged = &journal{f}, p.Rows
	}
	found, err := filepath.Glob(globEscape(p.path) + journalSuffix + "*")
	for _, path := range found {
		if path != p.journalPath(p.Group) || p.Rows == 0 {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// replay reads rows from the journal.
func (p *Pending) replay(rows int) error {
	f, err := os.Open(p.journalPath(p.Group))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	left := info.Size()
	r := bufio.NewReaderSize(f, 1<<20)
	for p.Rows < rows {
		head := make([]byte, recordHead)
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		n, length := int(binary.LittleEndian.Uint32(head)), binary.LittleEndian.Uint64(head[8:])
		if left -= recordHead; length > uint64(max(0, left)) || n > p.most {
			return errors.New("its journal is broken")
		}
		left -= int64(length)
		body := make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(head[4:]) {
			return errors.New("its journal has a wrong checksum")
		}
		vectors, err := p.decode(body, n)
		if err != nil {
			return err
		}
		if err := p.Add(vectors, min(n, rows-p.Rows), func() error { return errors.New("its journal has too many rows") }); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pending) decode(body []byte, rows int) ([]batch.Vector, error) {
	short := errors.New("its journal is cut off")
	vectors := make([]batch.Vector, len(p.Columns))
	for i, c := range p.Columns {
		v := &vectors[i]
		v.Name, v.DType, v.Shape = c.Name, c.DType, c.Shape
		if len(body) < 1 {
			return nil, short
		}
		flagged := body[0] == 1
		if body = body[1:]; flagged {
			if len(body) < rows {
				return nil, short
			}
			v.Null = make([]bool, rows)
			for k := range v.Null {
				v.Null[k] = body[k] != 0
			}
			body = body[rows:]
		}
		if len(body) < 8 || binary.LittleEndian.Uint64(body) > uint64(len(body)-8) {
			return nil, short
		}
		n := 8 + binary.LittleEndian.Uint64(body)
		v.Data, body = body[8:n], body[n:]
	}
	return vectors, nil
}

// Close removes the journals, once the file is complete.
func (p *Pending) Close() error {
	p.Abandon()
	return p.removeJournals(-1)
}

// Abandon closes the journal.
func (p *Pending) Abandon() {
	if p.journal != nil {
		p.journal.close()
		p.journal = nil
	}
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
