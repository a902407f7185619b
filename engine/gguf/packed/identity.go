package packed

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"time"
)

// Key names what is packed.
type Key [sha256.Size]byte

// Identity is what tells a model's files from all others and from themselves after a change.
type Identity struct {
	sum     [sha256.Size]byte
	settled bool
}

// samples is how many places of each file are looked at.
const samples = 64

// Identify reads the identity of open files: of each its inode number, size, and times of change, to the nanosecond as far as the file
// system has them; and besides 64 pieces of 512 bytes, for file systems whose times are not kept well.
//
// The time of change (ctime) is the system's own: who writes to a file, or sets its other times back, cannot but move it on. So equal
// identities are the same bytes, unless a file was changed twice within the grain of that clock, and read between, against which
// there is Settled. A copy of a file is another one: it is packed once more.
func (s *Store) Identify(parts []*os.File) (Identity, error) {
	id := Identity{settled: true}
	h := sha256.New()
	for _, f := range parts {
		info, err := f.Stat()
		if err != nil {
			return id, err
		}
		inode, changed, ok := ownTimes(info)
		if !ok {
			return id, fmt.Errorf("packed: %s has no inode", f.Name())
		}
		if time.Since(changed) < s.settling {
			id.settled = false
		}
		put(h, inode, uint64(info.Size()), uint64(info.ModTime().UnixNano()), uint64(changed.UnixNano()))
		if err := sample(h, f, info); err != nil {
			return id, err
		}
	}
	h.Sum(id.sum[:0])
	return id, nil
}

func sample(h hash.Hash, f *os.File, info fs.FileInfo) error {
	var piece [512]byte
	for i := range int64(samples) {
		at := max(info.Size()-int64(len(piece)), 0) / (samples - 1) * i
		n, err := f.ReadAt(piece[:], at)
		if n < int(min(int64(len(piece)), info.Size())) {
			return err
		}
		h.Write(piece[:n])
	}
	return nil
}

func put(h hash.Hash, list ...uint64) {
	for _, v := range list {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
}

// Settled says that the files were not changed in the last seconds, so that their next change will be seen. What is packed of others is
// not to be kept.
func (id Identity) Settled() bool { return id.settled }

// Key makes the key of what the caller packs of the files: content says in which layout, what, and in which order.
func (id Identity) Key(content []byte) Key {
	h := sha256.New()
	h.Write(id.sum[:])
	h.Write(content)
	return Key(h.Sum(nil))
}
