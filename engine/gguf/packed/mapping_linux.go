package packed

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	supported = true
	hugePage  = 2 << 20
)

// ownTimes are a file's inode and the time of its last change by the system's own clock.
func ownTimes(info fs.FileInfo) (inode uint64, changed time.Time, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, time.Time{}, false
	}
	return s.Ino, time.Unix(s.Ctim.Unix()), true
}

func freeSpace(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// mapFile maps the data, shared and read-only, where huge pages can be.
func mapFile(f *os.File, size int64) (*Mapping, error) {
	// Address space from which the mapping takes a part that begins as a huge page does.
	whole, err := syscall.Mmap(-1, 0, int(size)+hugePage, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("packed: %w", err)
	}
	skip := -int(uintptr(unsafe.Pointer(&whole[0]))) & (hugePage - 1)
	data := whole[skip : skip+int(size) : skip+int(size)]
	_, _, e := syscall.Syscall6(syscall.SYS_MMAP, uintptr(unsafe.Pointer(&data[0])), uintptr(size), syscall.PROT_READ,
		syscall.MAP_SHARED|syscall.MAP_FIXED, f.Fd(), begin)
	if e != 0 {
		_ = syscall.Munmap(whole)
		return nil, fmt.Errorf("packed: %s cannot be mapped: %w", f.Name(), e)
	}
	_ = syscall.Madvise(data, syscall.MADV_HUGEPAGE) // a system without huge pages is noticed by Huge
	return &Mapping{data: data, whole: whole}, nil
}

// Close unmaps the data. Nobody may use it any more.
func (m *Mapping) Close() error { return syscall.Munmap(m.whole) }

// Huge says whether the system has mapped the data by huge pages, all but a tenth; it must have been read.
func (m *Mapping) Huge() bool {
	if m.small {
		return true
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return false
	}
	defer f.Close()
	from := uint64(uintptr(unsafe.Pointer(&m.data[0])))
	to, inside, huge := from+uint64(len(m.data)), false, int64(0)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if a, b, ok := addresses(line); ok {
			inside = a >= from && b <= to+hugePage && a < to
		} else if n, found := strings.CutPrefix(line, "FilePmdMapped:"); found && inside {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(n, "kB")), 10, 64)
			huge += kb << 10
		}
	}
	return huge >= int64(len(m.data))/10*9
}

// addresses reads "7f0000000000-7f0000200000 r--s …".
func addresses(line string) (from, to uint64, ok bool) {
	word, _, _ := strings.Cut(line, " ")
	a, b, ok := strings.Cut(word, "-")
	if !ok {
		return 0, 0, false
	}
	from, err := strconv.ParseUint(a, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	to, err = strconv.ParseUint(b, 16, 64)
	return from, to, err == nil
}
