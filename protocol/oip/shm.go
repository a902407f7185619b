package oip

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"serval"
)

// shmFolder is where POSIX shared memory objects are files; shm_open("/x") opens shmFolder/x.
const shmFolder = "/dev/shm"

// regions are the system shared memory regions that clients have registered. It is safe for concurrent use.
//
// A region is read and written through its file, never mapped: a client may shrink the file at any moment, and a touch of
// a mapping past its end is a SIGBUS that ends the process, in an engine's C code beyond any recovery. A client may also
// change bytes under a running call; since inputs are copied out, what was checked is what the engine sees. The price is
// one copy in memory; a file closed by unregister during a call stays open until that read or write returns.
type regions struct {
	folder string
	mu     sync.RWMutex
	byName map[string]*region
}

type region struct {
	name   string
	key    string
	offset uint64
	size   uint64
	file   *os.File
}

func newRegions() *regions {
	return &regions{folder: shmFolder, byName: map[string]*region{}}
}

// register opens the shared memory object that key names ("/name" or "name") and gives the size bytes at offset the name.
// The object must exist, be a plain file and be large enough. A name in use is a Conflict.
func (r *regions) register(name, key string, offset, size uint64) error {
	if name == "" {
		return serval.Errorf(serval.InvalidArgument, "a shared memory region needs a name").At("name")
	}
	if size == 0 {
		return serval.Errorf(serval.InvalidArgument, "shared memory region '%s': byte_size must be at least 1", name).At("byte_size")
	}
	file, err := r.open(name, key)
	if err != nil {
		return err
	}
	g := &region{name: name, key: key, offset: offset, size: size, file: file}
	if err := g.checkFile(); err != nil {
		file.Close()
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName[name] != nil {
		file.Close()
		return serval.Errorf(serval.Conflict, "shared memory region '%s' already in manager; unregister it first", name).At("name")
	}
	r.byName[name] = g
	return nil
}

// open opens the object for reading and writing, following no link and leaving the folder by no way.
func (r *regions) open(name, key string) (*os.File, error) {
	base := strings.TrimPrefix(key, "/")
	if base == "" || base == "." || base == ".." || strings.ContainsAny(base, "/\x00") {
		return nil, serval.Errorf(serval.InvalidArgument, "shared memory region '%s': key %q must be a name as shm_open takes it: \"/name\", with no further '/'", name, key).At("key")
	}
	root, err := os.OpenRoot(r.folder)
	if err != nil {
		return nil, serval.Errorf(serval.Unimplemented, "shared memory region '%s': this server has no POSIX shared memory at %s", name, r.folder).Because(err)
	}
	defer root.Close()
	seen, err := root.Lstat(base)
	if err != nil {
		return nil, openError(name, key, err)
	}
	if !seen.Mode().IsRegular() {
		return nil, serval.Errorf(serval.InvalidArgument, "shared memory region '%s': key %q is not a shared memory object but a %s", name, key, seen.Mode().Type()).At("key")
	}
	file, err := root.OpenFile(base, os.O_RDWR, 0)
	if err != nil {
		return nil, openError(name, key, err)
	}
	// The name may have changed hands since Lstat, to a link for one: keep only the very file that was looked at.
	if opened, err := file.Stat(); err != nil || !os.SameFile(seen, opened) {
		file.Close()
		return nil, serval.Errorf(serval.InvalidArgument, "shared memory region '%s': key %q changed while it was opened", name, key).At("key")
	}
	return file, nil
}

func openError(name, key string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return serval.Errorf(serval.InvalidArgument, "Unable to open shared memory region: '%s': no object has the key %q on the server's machine", name, key).At("key")
	}
	return serval.Errorf(serval.InvalidArgument, "Unable to open shared memory region: '%s': the server may not read and write the object with the key %q", name, key).At("key").Because(err)
}

// checkFile says whether the file holds the region.
func (g *region) checkFile() error {
	info, err := g.file.Stat()
	if err != nil {
		return g.gone(err)
	}
	if have := uint64(info.Size()); g.offset > have || g.size > have-g.offset {
		return serval.Errorf(serval.InvalidArgument, "shared memory region '%s': offset %d and byte_size %d lie outside the object %q, which has %d bytes",
			g.name, g.offset, g.size, g.key, have).At("byte_size")
	}
	return nil
}

func (g *region) gone(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return g.missing()
	}
	return serval.Errorf(serval.InvalidArgument, "shared memory region '%s': the object %q cannot be used any more; register it anew", g.name, g.key).At(g.name).Because(err)
}

func (g *region) missing() error { return noRegion(g.name) }

func noRegion(name string) error {
	return serval.Errorf(serval.NotFound, "Unable to find shared memory region: '%s'; register it first", name).At(name)
}

// unregister forgets a region, or every region if name is "". A name that is not known is no error, as in Triton.
func (r *regions) unregister(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, g := range r.byName {
		if name == "" || n == name {
			g.file.Close()
			delete(r.byName, n)
		}
	}
}

// regionStatus is what a client is told of a region.
type regionStatus struct {
	Name   string `json:"name"`
	Key    string `json:"key"`
	Offset uint64 `json:"offset"`
	Size   uint64 `json:"byte_size"`
}

// status describes a region, or every region, by name, if name is "".
func (r *regions) status(name string) ([]regionStatus, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if name != "" {
		g := r.byName[name]
		if g == nil {
			return nil, noRegion(name)
		}
		return []regionStatus{g.status()}, nil
	}
	list := make([]regionStatus, 0, len(r.byName))
	for _, g := range r.byName {
		list = append(list, g.status())
	}
	slices.SortFunc(list, func(a, b regionStatus) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (g *region) status() regionStatus {
	return regionStatus{Name: g.name, Key: g.key, Offset: g.offset, Size: g.size}
}

// find returns the region of that name if the size bytes at offset lie in it.
func (r *regions) find(name string, offset, size uint64) (*region, error) {
	r.mu.RLock()
	g := r.byName[name]
	r.mu.RUnlock()
	if g == nil {
		return nil, noRegion(name)
	}
	if offset > g.size || size > g.size-offset {
		return nil, serval.Errorf(serval.InvalidArgument, "Invalid offset + byte size for shared memory region: '%s': offset %d and byte size %d lie outside its %d bytes",
			name, offset, size, g.size).At(name)
	}
	return g, nil
}

// read fills dst from the region, from offset on. The caller has bounded len(dst); see check.
func (r *regions) read(dst []byte, name string, offset uint64) error {
	g, err := r.find(name, offset, uint64(len(dst)))
	if err != nil || len(dst) == 0 {
		return err
	}
	switch n, err := g.file.ReadAt(dst, int64(g.offset+offset)); {
	case n == len(dst):
		return nil
	case errors.Is(err, io.EOF):
		return serval.Errorf(serval.InvalidArgument, "shared memory region '%s': the object %q was made smaller after it was registered", g.name, g.key).At(g.name)
	default:
		return g.gone(err)
	}
}

// check says whether the region holds size bytes at offset, before anything of that size is allocated.
func (r *regions) check(name string, offset, size uint64) error {
	g, err := r.find(name, offset, size)
	if err != nil {
		return err
	}
	return g.checkFile()
}

// write puts data into the region at offset, where the caller has set size bytes aside.
func (r *regions) write(data []byte, name string, offset, size uint64) error {
	g, err := r.find(name, offset, size)
	if err != nil {
		return err
	}
	if uint64(len(data)) > size {
		return serval.Errorf(serval.InvalidArgument, "shared memory region '%s': the output takes %d bytes, shared_memory_byte_size is %d", name, len(data), size).At(name)
	}
	if err := g.checkFile(); err != nil {
		return err
	}
	if len(data) == 0 {
		return nil
	}
	if _, err := g.file.WriteAt(data, int64(g.offset+offset)); err != nil {
		return g.gone(err)
	}
	return nil
}

// close forgets every region.
func (r *regions) close() { r.unregister("") }
