package sqs

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"serval/stream"
)

// SQS takes texts only, as bodies, and ten attributes. A message is put into them so:
//
//   - A value that is a text is the body as it is. Any other is written in base64, with the attribute serval-encoding: base64. An
//     empty one, which SQS does not take, is "-" with serval-encoding: empty.
//   - A header is the attribute of its name: String where its value is a text, else Binary. A header that SQS does not take as an
//     attribute (its name has other characters than a-z A-Z 0-9 _ - . or came before, its value is empty, ten others came
//     before) is in the attribute serval-headers: a JSON array of {"k": name, "v": text} or {"k": name, "b": base64}.
//   - A key is the message group of a FIFO queue where it can be one; else, and in a standard queue, it is the attribute serval-key. An
//     empty key is none.
//
// On the way in it is taken out again; headers come in the order of their names, those of serval-headers behind them. Of attributes
// that somebody else set, the type (Number, or one of their own) is lost.
const (
	attrEncoding = "serval-encoding"
	attrHeaders  = "serval-headers"
	attrKey      = "serval-key"
	maxAttrs     = 10

	encodedBase64 = "base64"
	encodedEmpty  = "empty"

	// ownGroups begins the names of message groups that are no key.
	ownGroups = "serval."
)

// content is what is sent of a message.
type content struct {
	body  string
	attrs map[string]types.MessageAttributeValue
	group string // of a FIFO queue
	size  int    // as SQS counts it
}

// header is one in the attribute serval-headers.
type header struct {
	Key   string `json:"k"`
	Value string `json:"v,omitempty"`
	Bytes []byte `json:"b,omitempty"`
}

// isText says whether SQS takes bytes as a text: UTF-8 of the characters that XML 1.0 has, and not empty.
func isText(b []byte) bool {
	if len(b) == 0 || !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if allowed(r) != r {
			return false
		}
	}
	return true
}

// allowed is a character that SQS takes, or what stands for it.
func allowed(r rune) rune {
	if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
		return utf8.RuneError
	}
	return r
}

// isAttr says whether SQS takes a header's name as an attribute's, and it is none of ours.
func isAttr(name string) bool {
	if name == "" || len(name) > 256 || name == attrEncoding || name == attrHeaders || name == attrKey {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		case c == '.' && i > 0 && i < len(name)-1 && name[i-1] != '.':
		default:
			return false
		}
	}
	lower := strings.ToLower(name)
	return !strings.HasPrefix(lower, "aws.") && !strings.HasPrefix(lower, "amazon.")
}

// isGroup says whether a key can be the name of a message group.
func isGroup(key []byte) bool {
	if len(key) == 0 || len(key) > 128 || strings.HasPrefix(string(key), ownGroups) {
		return false
	}
	for _, c := range key {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// pack makes what is sent of a message.
func pack(m *stream.Message, fifo bool) content {
	c := content{attrs: map[string]types.MessageAttributeValue{}}
	switch {
	case len(m.Value) == 0:
		c.body = "-"
		c.text(attrEncoding, encodedEmpty)
	case isText(m.Value):
		c.body = string(m.Value)
	default:
		c.body = base64.StdEncoding.EncodeToString(m.Value)
		c.text(attrEncoding, encodedBase64)
	}
	c.size = len(c.body)
	keyed := len(m.Key) > 0
	if fifo {
		c.group = groupOf(m)
		keyed = keyed && c.group != string(m.Key)
	}
	if keyed {
		c.add(attrKey, m.Key)
	}
	c.headers(m.Headers)
	for name, v := range c.attrs {
		c.size += len(name) + len(*v.DataType) + len(aws.ToString(v.StringValue)) + len(v.BinaryValue)
	}
	return c
}

// headers puts them into attributes.
func (c *content) headers(list []stream.Header) {
	var rest []header
	room := maxAttrs - len(c.attrs)
	own := make([]int, 0, len(list)) // those that are attributes
	seen := map[string]bool{}
	spill := func(h *stream.Header) {
		r := header{Key: strings.Map(allowed, h.Key)}
		if isText(h.Value) {
			r.Value = string(h.Value)
		} else {
			r.Bytes = h.Value
		}
		rest = append(rest, r)
	}
	for i := range list {
		if h := &list[i]; isAttr(h.Key) && !seen[h.Key] && len(h.Value) > 0 {
			seen[h.Key] = true
			own = append(own, i)
		} else {
			spill(h)
		}
	}
	if len(rest) > 0 || len(own) > room {
		room = max(0, room-1)
		for _, i := range own[min(room, len(own)):] {
			spill(&list[i])
		}
		own = own[:min(room, len(own))]
		text, _ := json.Marshal(rest) // texts and bytes: it cannot fail
		c.text(attrHeaders, string(text))
	}
	for _, i := range own {
		c.add(list[i].Key, list[i].Value)
	}
}

func (c *content) text(name, value string) {
	c.attrs[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
}

func (c *content) add(name string, value []byte) {
	if isText(value) {
		c.text(name, string(value))
		return
	}
	c.attrs[name] = types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: value}
}

// groupOf is the message group of a message: its key where that can be one, else a name that is the same for equal keys, or, without
// a key, for messages of one lane.
func groupOf(m *stream.Message) string {
	switch {
	case isGroup(m.Key):
		return string(m.Key)
	case len(m.Key) > 0:
		return ownGroups + "key." + short(m.Key)
	case m.Lane != nil:
		return ownGroups + "lane." + short([]byte(m.Lane.Name))
	}
	return ownGroups + "alone." + short([]byte(m.Position.String()))
}

func short(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// unpack makes a message of what was received. Nothing that is in it makes it fail: what cannot be read is passed on as it is.
func unpack(in *types.Message) stream.Message {
	m := stream.Message{Value: []byte(aws.ToString(in.Body))}
	bytes := func(v *types.MessageAttributeValue) []byte {
		if v.BinaryValue != nil {
			return v.BinaryValue
		}
		return []byte(aws.ToString(v.StringValue))
	}
	names := make([]string, 0, len(in.MessageAttributes))
	for name := range in.MessageAttributes {
		names = append(names, name)
	}
	slices.Sort(names)
	var rest []stream.Header
	for _, name := range names {
		v := in.MessageAttributes[name]
		value := bytes(&v)
		switch name {
		case attrEncoding:
			if decode(&m, string(value)) {
				continue
			}
		case attrHeaders:
			if list, ok := spilled(value); ok {
				rest = list
				continue
			}
		case attrKey:
			m.Key = value
			continue
		}
		m.Headers = append(m.Headers, stream.Header{Key: name, Value: value})
	}
	m.Headers = append(m.Headers, rest...)
	if g := in.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)]; g != "" && m.Key == nil && !strings.HasPrefix(g, ownGroups) {
		m.Key = []byte(g)
	}
	if ms, err := strconv.ParseInt(in.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil && ms > 0 {
		m.Time = time.UnixMilli(ms)
	}
	if n, err := strconv.Atoi(in.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)]); err == nil && n > 0 {
		m.Attempt = n
	}
	return m
}

// decode undoes what serval-encoding says; false: it cannot be.
func decode(m *stream.Message, encoding string) bool {
	switch encoding {
	case encodedEmpty:
		m.Value = []byte{}
		return true
	case encodedBase64:
		if raw, err := base64.StdEncoding.DecodeString(string(m.Value)); err == nil {
			m.Value = raw
			return true
		}
	}
	return false
}

// spilled reads serval-headers.
func spilled(text []byte) ([]stream.Header, bool) {
	var list []header
	if json.Unmarshal(text, &list) != nil {
		return nil, false
	}
	headers := make([]stream.Header, len(list))
	for i, h := range list {
		headers[i] = stream.Header{Key: h.Key, Value: []byte(h.Value)}
		if h.Bytes != nil {
			headers[i].Value = h.Bytes
		}
	}
	return headers, true
}
