package files

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"serval/internal/jsontensor"
	"serval/stream"
)

// linesFile writes a group's rows to a new file at path, one line of JSON each, and brings it to the disk.
func (t *target) linesFile(g *group, path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var to io.Writer = f
	var packed *gzip.Writer
	if t.opt.Compression == "gzip" {
		packed = gzip.NewWriter(f)
		to = packed
	}
	w := bufio.NewWriterSize(to, 256<<10)
	var line []byte
	for i := range g.rows {
		line = appendLine(line[:0], g.rows[i].m, t.opt.Metadata)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if packed != nil {
		if err := packed.Close(); err != nil {
			return err
		}
	}
	return f.Sync()
}

// appendLine appends a message's line. A value that is an object is the line, and the metadata are members of it; another one is
// its member "value", or "value_base64" where it is no text.
func appendLine(dst []byte, m *stream.Message, origins bool) []byte {
	value := m.Value
	if bytes.IndexByte(value, '\n') >= 0 || bytes.IndexByte(value, '\r') >= 0 {
		var b bytes.Buffer
		if json.Compact(&b, value) == nil {
			value = b.Bytes()
		}
	}
	var s jsontensor.Scanner
	s.Reset(value)
	first := s.Peek()
	valid := s.Skip() == nil && s.End() == nil
	value = bytes.TrimSpace(value)
	switch {
	case valid && first == '{':
		dst = append(dst, bytes.TrimRight(value[:len(value)-1], " \t")...)
	case valid:
		dst = append(append(dst, `{"value":`...), value...)
	case utf8.Valid(m.Value):
		dst = jsontensor.AppendString(append(dst, `{"value":`...), m.Value)
	default:
		dst = base64.StdEncoding.AppendEncode(append(dst, `{"value_base64":"`...), m.Value)
		dst = append(dst, '"')
	}
	if origins {
		if dst[len(dst)-1] != '{' { // an object with members
			dst = append(dst, ',')
		}
		dst = appendOrigin(dst, m)
	}
	return append(dst, "}\n"...)
}

func appendOrigin(dst []byte, m *stream.Message) []byte {
	dst = append(dst, `"_key":`...)
	if m.Key == nil {
		dst = append(dst, "null"...)
	} else {
		dst = jsontensor.AppendString(dst, m.Key)
	}
	dst = jsontensor.AppendString(append(dst, `,"_topic":`...), m.Position.Topic)
	if m.Position.ID != "" {
		dst = jsontensor.AppendString(append(dst, `,"_id":`...), m.Position.ID)
	} else {
		dst = strconv.AppendInt(append(dst, `,"_partition":`...), int64(m.Position.Partition), 10)
		dst = strconv.AppendInt(append(dst, `,"_offset":`...), m.Position.Offset, 10)
	}
	dst = append(dst, `,"_time":`...)
	if m.Time.IsZero() {
		dst = append(dst, "null"...)
	} else {
		dst = jsontensor.AppendString(dst, m.Time.UTC().Format(time.RFC3339Nano))
	}
	return appendHeaders(append(dst, `,"_headers":`...), m)
}

// appendHeaders appends the headers as an object; of those of one name the first counts, as in stream.Message.Header.
func appendHeaders(dst []byte, m *stream.Message) []byte {
	dst = append(dst, '{')
	for i := range m.Headers {
		h := &m.Headers[i]
		again := false
		for _, before := range m.Headers[:i] {
			again = again || before.Key == h.Key
		}
		if again {
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jsontensor.AppendString(dst, h.Key)
		dst = jsontensor.AppendString(append(dst, ':'), h.Value)
	}
	return append(dst, '}')
}
