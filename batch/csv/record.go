package csv

import (
	"bytes"
	"fmt"
	"io"
)

// record is a row at the window's beginning; its cells are in reader.cells, until the window moves.
type record struct {
	size  int   // bytes, with the line's end
	lines int64 // that it goes over
	fault string
}

// record finds the row that the window stands at, past empty lines. The row is wholly in the window then.
func (r *reader) record() (record, error) {
	for {
		end, err := r.line(0)
		if err != nil {
			return record{}, err
		}
		if end < 0 {
			return r.giant()
		}
		line := trimEnd(r.Window.Buf[:end])
		if len(line) == 0 {
			r.skip(end)
			r.At.Line++
			continue
		}
		if bytes.IndexByte(line, '"') >= 0 {
			return r.quoted(end)
		}
		r.cells = r.cells[:0]
		for {
			i := bytes.IndexByte(line, r.opt.Delimiter)
			if i < 0 {
				break
			}
			r.cells = append(r.cells, line[:i])
			line = line[i+1:]
		}
		r.cells = append(r.cells, line)
		return record{size: end, lines: 1}, nil
	}
}

// line is where the line that goes on at from ends, behind its end; -1: it is longer than a record may be.
func (r *reader) line(from int) (int, error) {
	seen := from
	for {
		if i := bytes.IndexByte(r.Window.Buf[seen:], '\n'); i >= 0 && seen+i < r.opt.MaxRecord {
			return seen + i + 1, nil
		} else if i >= 0 {
			return -1, nil
		}
		if seen = len(r.Window.Buf); seen > r.opt.MaxRecord {
			return -1, nil
		}
		err := r.Window.More()
		if err == io.EOF && len(r.Window.Buf) > from {
			return len(r.Window.Buf), nil
		} else if err != nil {
			return 0, err
		}
	}
}

// giant passes a line that is longer than a record may be. Nothing but its beginning is kept.
func (r *reader) giant() (record, error) {
	reason := fmt.Sprintf("longer than %d bytes, which is the option max_record", r.opt.MaxRecord)
	keep := r.Window.Buf[:min(len(r.Window.Buf), maxRaw, r.opt.MaxRecord)] // however much was read so far
	head := append(make([]byte, 0, maxRaw), keep...)
	for {
		i := bytes.IndexByte(r.Window.Buf, '\n')
		if i >= 0 {
			// The rest of the line is the record; its raw text is the beginning.
			r.skip(i + 1 - min(i+1, len(head)))
			copy(r.Window.Buf, head[:min(i+1, len(head))])
			return record{size: min(i+1, len(head)), lines: 1, fault: reason}, nil
		}
		if len(r.Window.Buf) > len(head) {
			r.skip(len(r.Window.Buf) - len(head))
		}
		if err := r.Window.More(); err == io.EOF {
			n := min(len(r.Window.Buf), len(head))
			copy(r.Window.Buf, head[:n])
			return record{size: len(r.Window.Buf), lines: 1, fault: reason}, nil
		} else if err != nil {
			return record{}, err
		}
	}
}

// quoted takes a record with quotes apart. Its first line ends at end; a quoted field may go on behind it. Where the quotes are
// wrong, the record is its first line.
func (r *reader) quoted(end int) (record, error) {
	first := end
	wrong := func(why string) (record, error) { return record{size: first, lines: 1, fault: why}, nil }
	r.cells, r.scratch = r.cells[:0], r.scratch[:0]
	r.begins = r.begins[:0]
	lines, i := int64(1), 0
	for {
		r.begins = append(r.begins, len(r.scratch))
		if i < end && r.Window.Buf[i] == '"' {
			i++
			for { // inside the quotes
				j := bytes.IndexByte(r.Window.Buf[i:end], '"')
				if j < 0 {
					r.scratch = append(r.scratch, r.Window.Buf[i:end]...)
					i = end
					next, err := r.line(end)
					switch {
					case err == io.EOF:
						return wrong("a quoted field that is not closed")
					case err != nil:
						return record{}, err
					case next < 0:
						return wrong(fmt.Sprintf("a quoted field that is not closed within %d bytes (max_record)", r.opt.MaxRecord))
					}
					end = next
					lines++
					continue
				}
				r.scratch = append(r.scratch, r.Window.Buf[i:i+j]...)
				i += j + 1
				if i < end && r.Window.Buf[i] == '"' {
					r.scratch = append(r.scratch, '"')
					i++
					continue
				}
				break
			}
			if rest := trimEnd(r.Window.Buf[i:end]); len(rest) == 0 {
				break
			} else if rest[0] != r.opt.Delimiter {
				return wrong("text between a closing quote and the delimiter; a quote inside a quoted field is written twice")
			}
			i++
			continue
		}
		rest := trimEnd(r.Window.Buf[i:end])
		j := bytes.IndexByte(rest, r.opt.Delimiter)
		cell := rest
		if j >= 0 {
			cell = rest[:j]
		}
		if bytes.IndexByte(cell, '"') >= 0 {
			return wrong("a quote inside a field that is not quoted")
		}
		r.scratch = append(r.scratch, cell...)
		if j < 0 {
			break
		}
		i += j + 1
	}
	for c, at := range r.begins {
		to := len(r.scratch)
		if c+1 < len(r.begins) {
			to = r.begins[c+1]
		}
		r.cells = append(r.cells, r.scratch[at:to])
	}
	return record{size: end, lines: lines}, nil
}

// trimEnd takes the line's end off.
func trimEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	return line
}
