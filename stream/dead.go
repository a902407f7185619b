package stream

import (
	"strconv"
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
