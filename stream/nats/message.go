package nats

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	natsgo "github.com/nats-io/nats.go"

	"serval/stream"
)

// headerKey holds a message's key. A header of NATS is a line of text: a value that is none is base64 under the name with
// encoded behind it.
const (
	headerKey = "serval-key"
	encoded   = "-serval-base64"
	reserved  = "Nats-" // headers that instruct the server
)

// received makes a message of what a consumer delivered. It shares the delivery's memory.
func received(m *natsgo.Msg, md *natsgo.MsgMetadata, patterns []string) stream.Message {
	out := stream.Message{
		Value: m.Data, Time: md.Timestamp, Attempt: int(min(md.NumDelivered, 1<<30)),
		Position: stream.Position{Topic: md.Stream, Offset: int64(md.Sequence.Stream)},
	}
	out.Headers, out.Key = headers(m.Header)
	if out.Key == nil {
		if key := matched(patterns, m.Subject); key != "" {
			out.Key = []byte(key)
		}
	}
	out.Size = len(out.Key) + len(out.Value)
	return out
}

// headers turns headers of NATS into ours and the key, in the order of their names: their own order is not kept by clients.
func headers(h natsgo.Header) (list []stream.Header, key []byte) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if strings.HasPrefix(name, reserved) && name != natsgo.MsgIdHdr { // what the server was told when it was published
			continue
		}
		for _, v := range h[name] {
			bare, value := name, []byte(v)
			if cut, ok := strings.CutSuffix(name, encoded); ok {
				if raw, err := base64.StdEncoding.DecodeString(v); err == nil {
					bare, value = cut, raw
				}
			}
			if bare == headerKey {
				key = value
				continue
			}
			list = append(list, stream.Header{Key: bare, Value: value})
		}
	}
	return list, key
}

// matched is what the wildcards of the first pattern that matches stand for; "" where none does.
func matched(patterns []string, subject string) string {
	for _, p := range patterns {
		if key, ok := match(p, subject); ok {
			return key
		}
	}
	return ""
}

func match(pattern, subject string) (key string, ok bool) {
	var wild []string
	for pattern != "" {
		want, rest, _ := strings.Cut(pattern, ".")
		if want == ">" {
			if subject == "" {
				return "", false
			}
			return strings.Join(append(wild, subject), "."), true
		}
		have, left, _ := strings.Cut(subject, ".")
		switch {
		case have == "":
			return "", false
		case want == "*":
			wild = append(wild, have)
		case want != have:
			return "", false
		}
		pattern, subject = rest, left
	}
	return strings.Join(wild, "."), subject == ""
}

// outgoing makes what is published of a message. id is its Nats-Msg-Id; "": none.
func outgoing(m *stream.Message, subject, id string) *natsgo.Msg {
	out := &natsgo.Msg{Subject: subject, Data: m.Value, Header: make(natsgo.Header, len(m.Headers)+2)}
	for i := range m.Headers {
		h := &m.Headers[i]
		if len(h.Key) >= len(reserved) && strings.EqualFold(h.Key[:len(reserved)], reserved) || strings.EqualFold(h.Key, "Status") {
			continue // it would instruct the server, or look like its word
		}
		put(out.Header, headerName(h.Key), h.Value)
	}
	delete(out.Header, headerKey)
	delete(out.Header, headerKey+encoded)
	if m.Key != nil {
		put(out.Header, headerKey, m.Key)
	}
	if id != "" {
		out.Header[natsgo.MsgIdHdr] = []string{id}
	}
	return out
}

func put(h natsgo.Header, name string, value []byte) {
	v := string(value)
	if !plain(v) {
		name, v = name+encoded, base64.StdEncoding.EncodeToString(value)
	}
	h[name] = append(h[name], v)
}

// plain says whether a header can have this value as it is.
func plain(v string) bool {
	if v != strings.TrimSpace(v) {
		return false
	}
	for i := range len(v) {
		if v[i] < ' ' || v[i] == 0x7f {
			return false
		}
	}
	return true
}

// headerName is name with what a header's name cannot hold replaced.
func headerName(name string) string {
	if name == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == ':' {
			return '_'
		}
		return r
	}, name)
}

// token is a key as a token of a subject: what a token cannot hold is %XX, as in URLs.
func token(key []byte) string {
	if len(key) == 0 {
		return "_"
	}
	var b strings.Builder
	for _, c := range key {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(".*>%", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() > maxToken {
		sum := sha256.Sum256(key)
		return "%" + hex.EncodeToString(sum[:])
	}
	return b.String()
}

// maxToken bounds a token made of a key; of a longer key it is a digest.
const maxToken = 256

// messageID names a result after the message that it answers. Positions can begin anew, when what was read is deleted
// and made again, so the time of the message is part of the name; where it is not known, the result itself.
func messageID(streamName string, m *stream.Message) string {
	var b strings.Builder
	b.WriteString(streamName)
	b.WriteByte(' ')
	b.WriteString(m.Position.String())
	if m.Time.IsZero() {
		sum := sha256.New()
		_, _ = fmt.Fprintf(sum, "%d ", len(m.Key))
		_, _ = sum.Write(m.Key)
		_, _ = sum.Write(m.Value)
		b.WriteByte('#')
		b.WriteString(hex.EncodeToString(sum.Sum(nil)[:16]))
	} else {
		b.WriteByte('@')
		b.WriteString(strconv.FormatInt(m.Time.UnixNano(), 10))
	}
	if _, ok := m.Header(stream.HeaderCode); ok { // a dead letter, which may stand in one stream with results
		b.WriteString(" dead")
	}
	if id := b.String(); plain(id) && len(id) <= 512 {
		return id
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}
