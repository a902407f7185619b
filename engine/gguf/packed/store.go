package packed

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// DefaultMost is what the files of a store take together at most, unless it is told otherwise.
	DefaultMost = 16 << 30
	// least is the smallest data that is worth a file: packing it takes some 10 ms.
	least = 32 << 20
	// spare is what stays free on the disk.
	spare = 2 << 30

	suffix = ".weights"
	temp   = ".new-"
	// forgotten is how long ago the last write to a file must be that somebody began and did not end.
	forgotten = 5 * time.Minute
	// settling is how old a source's last change must be: longer than the clock of any file system ticks (FAT: 2 s).
	settling = 3 * time.Second
)

// Store is a folder of files, which is made when the first is written. It is safe for concurrent use, also by several processes.
type Store struct {
	dir      string
	most     int64
	least    int64
	spare    int64
	settling time.Duration
	small    bool

	mapped, written, refused atomic.Int64
}

// New makes a store of at most so many bytes in dir; 0: DefaultMost.
func New(dir string, most int64) *Store {
	return &Store{dir: dir, most: cmp.Or(most, DefaultMost), least: least, spare: spare, settling: settling}
}

// All makes the store keep data of any size, of sources that are new, and whatever the disk has left, for tests; small says that its
// mappings are taken for huge pages whatever they are.
func (s *Store) All(small bool) *Store {
	s.least, s.spare, s.settling, s.small = 1, 0, 0, small
	return s
}

// Counts are how many files were mapped and written, and how many were found and not what they should be.
func (s *Store) Counts() (mapped, written, refused int64) {
	return s.mapped.Load(), s.written.Load(), s.refused.Load()
}

// Keeps says whether data of that size is kept.
func (s *Store) Keeps(size int64) bool { return size >= s.least && size <= min(s.most, maxSize) }

func (s *Store) path(key Key) string {
	return filepath.Join(s.dir, hex.EncodeToString(key[:16])+suffix)
}

// Open maps the data of key, which has size bytes, and checks all of it; share runs f for each piece in [0, n), several at once if it
// can. fs.ErrNotExist: there is none. A file that is not what it should be is removed.
func (s *Store) Open(key Key, size int64, share func(n int, f func(i int))) (*Mapping, error) {
	path := s.path(key)
	m, err := s.open(path, key, size, share)
	switch {
	case err == nil:
		now := time.Now()
		_ = os.Chtimes(path, now, now) // when it was last used; a folder that cannot be written evicts nothing either
		s.mapped.Add(1)
	case errors.Is(err, errOther):
		s.refused.Add(1)
		_ = os.Remove(path)
	}
	return m, err
}

func (s *Store) open(path string, key Key, size int64, share func(n int, f func(i int))) (*Mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping stays
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, errOther)
	}
	list, err := decodeHeader(f, info.Size(), key, size)
	if err != nil {
		return nil, err
	}
	m, err := mapFile(f, size)
	if err != nil {
		return nil, err
	}
	m.small = s.small
	var bad atomic.Bool
	share(len(list), func(i int) {
		if m.Guard(func() {
			if crc32.Checksum(part(m.data, i), sums()) != list[i] {
				bad.Store(true)
			}
		}) != nil {
			bad.Store(true)
		}
	})
	if bad.Load() {
		return nil, errors.Join(fmt.Errorf("%w: its data is another", errOther), m.Close())
	}
	return m, nil
}

// Write keeps data for key, unless the disk has no room; it stops when ctx ends. What is oldest makes room. An error is worth a note, no
// more.
func (s *Store) Write(ctx context.Context, key Key, data []byte) (err error) {
	if !supported || !s.Keeps(int64(len(data))) {
		return fmt.Errorf("packed: %d bytes are not kept", len(data))
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	s.evict(int64(len(data)) + begin)
	if free, err := freeSpace(s.dir); err != nil || free < int64(len(data))+begin+s.spare {
		return cmp.Or(err, fmt.Errorf("packed: the disk has %d MB left, and %d MB stay free", free>>20, s.spare>>20))
	}
	f, err := os.CreateTemp(s.dir, temp)
	if err != nil {
		return err
	}
	defer func() {
		if err = cmp.Or(err, f.Close()); err == nil {
			err = os.Rename(f.Name(), s.path(key))
		}
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			return
		}
		s.written.Add(1)
	}()
	list := make([]uint32, pieces(int64(len(data))))
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := part(data, i)
		list[i] = crc32.Checksum(p, sums())
		if _, err := f.WriteAt(p, begin+int64(i)*piece); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(encodeHeader(key, int64(len(data)), list), 0); err != nil {
		return err
	}
	return f.Sync()
}

// evict removes files, those that were not used for longest first, until there is room for so many bytes; and what nobody ended.
func (s *Store) evict(room int64) {
	entries, _ := os.ReadDir(s.dir)
	var files []fs.FileInfo
	sum := room
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case strings.HasPrefix(e.Name(), temp):
			if time.Since(info.ModTime()) > forgotten {
				_ = os.Remove(filepath.Join(s.dir, e.Name()))
			}
		case strings.HasSuffix(e.Name(), suffix):
			files, sum = append(files, info), sum+info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range files {
		if sum <= s.most {
			return
		}
		if os.Remove(filepath.Join(s.dir, info.Name())) == nil {
			sum -= info.Size()
		}
	}
}
