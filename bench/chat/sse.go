package chat

import (
	"bytes"
	"fmt"
)

// maxEvent bounds what is kept of an event.
const maxEvent = 1 << 20

// events cuts a body that arrives in pieces into server-sent events (WHATWG HTML, "Server-sent events", 9.2.6). Lines end
// with LF or CRLF. It is stricter than that page in one point: a line with a field that the page does not name is an error,
// since it is the sign of an answer that is no stream.
type events struct {
	line []byte // of a line whose end has not arrived
	data []byte // the event's data lines so far
	some bool   // there was one
}

func (e *events) reset() { e.line, e.data, e.some = e.line[:0], e.data[:0], false }

// feed takes the next piece and hands every event's data that it completes to each, which must not keep it.
func (e *events) feed(b []byte, each func(data []byte) error) error {
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			if len(e.line)+len(b) > maxEvent {
				return fmt.Errorf("a line of more than %d bytes", maxEvent)
			}
			e.line = append(e.line, b...)
			return nil
		}
		line := b[:end]
		b = b[end+1:]
		if len(e.line) > 0 {
			if len(e.line)+len(line) > maxEvent {
				return fmt.Errorf("a line of more than %d bytes", maxEvent)
			}
			e.line = append(e.line, line...)
			line = e.line
		}
		err := e.take(bytes.TrimSuffix(line, []byte("\r")), each)
		e.line = e.line[:0]
		if err != nil {
			return err
		}
	}
}

// rest is what arrived of an event that nothing ended.
func (e *events) rest() []byte {
	if e.some {
		return e.data
	}
	return nil
}

func (e *events) take(line []byte, each func([]byte) error) error {
	if len(line) == 0 {
		if !e.some {
			return nil
		}
		err := each(e.data)
		e.data, e.some = e.data[:0], false
		return err
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch string(name) {
	case "", "event", "id", "retry": // "" is a comment
	case "data":
		value = bytes.TrimPrefix(value, []byte(" "))
		if len(e.data)+len(value)+1 > maxEvent {
			return fmt.Errorf("an event of more than %d bytes", maxEvent)
		}
		if e.some {
			e.data = append(e.data, '\n')
		}
		e.data, e.some = append(e.data, value...), true
	default:
		return fmt.Errorf("the line %.80q", line)
	}
	return nil
}
