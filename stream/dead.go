package stream

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// The headers of a dead letter, beside those of the message. Key and value are the message's own bytes.
const (
	HeaderStream    = "serval-stream"
	HeaderError     = "serval-error"           // the reason, as a person reads it
	HeaderCode      = "serval-error-code"      // its class: "invalid_argument", …
	HeaderParam     = "serval-error-param"     // the field at fault, if there is one
	HeaderTopic     = "serval-topic"           // where the message stands
	HeaderPartition = "serval-partition"       //
	HeaderOffset    = "serval-offset"          //
	HeaderID        = "serval-message-id"      // instead of partition and offset, where the broker has none
	HeaderTime      = "serval-time"            // when the message was made, RFC 3339
	HeaderAttempts  = "serval-attempts"        // calls that were made for it
	HeaderCut       = "serval-value-cut-bytes" // the value was too large for the place of dead letters; this was its size
)

// letter makes an item's dead letter.
func (r *run) letter(it *item) *Message {
	m, e := &it.msg, it.failed
	out := &Message{Key: m.Key, Value: m.Value, Position: m.Position, Time: m.Time, Lane: m.Lane}
	out.Headers = append(make([]Header, 0, len(m.Headers)+10), m.Headers...)
	add := func(key, value string) {
		if value != "" {
			out.Headers = append(out.Headers, Header{key, []byte(value)})
		}
	}
	add(HeaderStream, r.w.opt.Name)
	add(HeaderModel, r.w.opt.Model.String())
	add(HeaderCode, e.Code.String())
	add(HeaderError, e.Message)
	add(HeaderParam, e.Param)
	add(HeaderTopic, m.Position.Topic)
	if m.Position.ID != "" {
		add(HeaderID, m.Position.ID)
	} else {
		add(HeaderPartition, strconv.Itoa(int(m.Position.Partition)))
		add(HeaderOffset, strconv.FormatInt(m.Position.Offset, 10))
	}
	if !m.Time.IsZero() {
		add(HeaderTime, m.Time.UTC().Format(time.RFC3339Nano))
	}
	add(HeaderAttempts, strconv.Itoa(it.attempts))
	return out
}

// letterHeaders is where the headers begin that letter added; those of them from there on that begin with serval- are its. The
// message's own come first, and may themselves be those of an earlier dead letter; a broker that does not keep the order of
// headers loses that difference, and then all are. -1: it is no dead letter.
func letterHeaders(m *Message) int {
	at := -1
	for i := range m.Headers {
		if m.Headers[i].Key == HeaderStream {
			at = i
		}
	}
	if at < 0 {
		return -1
	}
	added := m.Headers[at:]
	foreign := func(h Header) bool { return !strings.HasPrefix(h.Key, letterPrefix) }
	code := func(h Header) bool { return h.Key == HeaderCode }
	if slices.ContainsFunc(added, foreign) || !slices.ContainsFunc(added, code) {
		return 0
	}
	return at
}

const letterPrefix = "serval-"

// LetterStream is the name of the stream whose dead letter m is; "": it is none.
func LetterStream(m *Message) string { return letterHeader(m, HeaderStream) }

// LetterCode is the code of the error for which m became a dead letter.
func LetterCode(m *Message) string { return letterHeader(m, HeaderCode) }

func letterHeader(m *Message, key string) string {
	from := letterHeaders(m)
	for i := len(m.Headers) - 1; from >= 0 && i >= from; i-- {
		if m.Headers[i].Key == key {
			return string(m.Headers[i].Value)
		}
	}
	return ""
}

// Original is the message that became the dead letter m, with its position; it shares m's memory. whole is false where its value
// was too large to be kept.
func Original(m *Message) (original *Message, whole bool) {
	out := &Message{Key: m.Key, Value: m.Value, Position: Position{Partition: -1}}
	from := letterHeaders(m)
	whole = true
	for i, h := range m.Headers {
		if from < 0 || i < from || !strings.HasPrefix(h.Key, letterPrefix) {
			out.Headers = append(out.Headers, h)
			continue
		}
		switch text := string(h.Value); h.Key {
		case HeaderTopic:
			out.Position.Topic = text
		case HeaderPartition:
			if n, err := strconv.ParseInt(text, 10, 32); err == nil {
				out.Position.Partition = int32(n)
			}
		case HeaderOffset:
			out.Position.Offset, _ = strconv.ParseInt(text, 10, 64) // a letter that was changed by hand
		case HeaderID:
			out.Position.ID = text
		case HeaderTime:
			out.Time, _ = time.Parse(time.RFC3339Nano, text)
		case HeaderCut:
			whole = false
		}
	}
	return out, whole
}
