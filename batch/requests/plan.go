package requests

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"serval"
)

// Names in a batch's folder. The input is a link to the file, or a copy: the client may delete its own meanwhile.
const (
	inputName = "input"
	planName  = "plan"
)

// planRecord is the size of a request's place in a plan: offset, size and line, little-endian.
const planRecord = 16

// writePlan notes the places in the order in which they are asked. Done again, it writes the same.
func writePlan(dir string, places []place) error {
	buf := make([]byte, 0, planRecord*len(places))
	for i := range places {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(places[i].offset))
		buf = binary.LittleEndian.AppendUint32(buf, places[i].size)
		buf = binary.LittleEndian.AppendUint32(buf, places[i].line)
	}
	return writeWhole(filepath.Join(dir, planName), buf)
}

// writeWhole replaces a file whole and brings it to the disk.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), upload)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(filepath.Dir(path))
}

// readPlan reads the places [from, to) of a plan; to -1: all.
func readPlan(dir string, from, to int) ([]place, error) {
	f, err := os.Open(filepath.Join(dir, planName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if to < 0 {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		to = int(info.Size() / planRecord)
	}
	buf := make([]byte, planRecord*(to-from))
	if _, err := io.ReadFull(io.NewSectionReader(f, int64(from)*planRecord, int64(len(buf))), buf); err != nil {
		return nil, err
	}
	list := make([]place, to-from)
	for i := range list {
		r := buf[planRecord*i:]
		list[i] = place{offset: int64(binary.LittleEndian.Uint64(r)), size: binary.LittleEndian.Uint32(r[8:]), line: binary.LittleEndian.Uint32(r[12:])}
	}
	return list, nil
}

// request reads one line of the input.
func request(in io.ReaderAt, p *place) (*line, error) {
	buf := make([]byte, p.size)
	if _, err := in.ReadAt(buf, p.offset); err != nil {
		return nil, err
	}
	if p.offset == 0 && len(buf) > 3 && string(buf[:3]) == "\ufeff" {
		buf = buf[3:]
	}
	l := &line{}
	if err := json.Unmarshal(buf, l); err != nil {
		return nil, err
	}
	if l.CustomID == nil || len(l.Body) == 0 {
		return nil, serval.Errorf(serval.Internal, "line %d of the input has changed since it was checked", p.line)
	}
	return l, nil
}

// linkOrCopy gives a file a second name, or copies it where there are no links.
func linkOrCopy(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
