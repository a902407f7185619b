package gguf

import "bytes"

// Read is the file as Open would read it, were it written: its Data must not be called.
func (d *Draft) Read() (*File, error) {
	p, err := d.lay()
	if err != nil {
		return nil, err
	}
	return Read(bytes.NewReader(p.head), p.size)
}
