package stream

import (
	"strconv"
	"sync/atomic"
	"time"
)

// Message is one message of a bus. What a Source gives is not changed by the worker, and results share its key and headers.
type Message struct {
	Key, Value []byte // a nil Key is no key
	Headers    []Header
	Position   Position
	Time       time.Time // when it was made; zero: not known
	Attempt    int       // how often the broker gave it out, from 1; 0: the broker does not count
	// Lane is what the message must stay in order with; nil: it has no order.
	Lane *Lane
	// Size is what it counts in bytes; 0: the length of key and value.
	Size int
	// Handle is the source's own, to know the message again when it is acked.
	Handle any
}

// Header is a name with a value. Names may come more than once.
type Header struct {
	Key   string
	Value []byte
}

// Header is the value of the first header of that name; ok tells whether there is one.
func (m *Message) Header(key string) (value []byte, ok bool) {
	for i := range m.Headers {
		if m.Headers[i].Key == key {
			return m.Headers[i].Value, true
		}
	}
	return nil, false
}

func (m *Message) size() int {
	if m.Size > 0 {
		return m.Size
	}
	return len(m.Key) + len(m.Value)
}

// Position says where a message stands at its broker.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
	ID        string // where the broker names messages otherwise; then Partition and Offset mean nothing
}

// String is topic/partition@offset, or topic@id.
func (p Position) String() string {
	if p.ID != "" {
		return p.Topic + "@" + p.ID
	}
	return p.Topic + "/" + strconv.Itoa(int(p.Partition)) + "@" + strconv.FormatInt(p.Offset, 10)
}

// Lane is a stretch of messages that keep their order: a partition, a message group. A Source makes one for as long as it owns
// the stretch, and another one when it gets it again. The worker writes and acks a lane's messages in the order in which they
// were read; those of different lanes, and their computation, run together.
type Lane struct {
	Name string
	Tag  any // the source's own

	gone   atomic.Bool // its messages are dropped: somebody else has them now
	closed bool        // it takes no more messages; the loop's
	queue  []*item     // read and not yet handed to the writer, in order; the loop's
	held   int         // handed to the writer and not yet acked; the loop's
	empty  []chan struct{}
}

// NewLane makes one.
func NewLane(name string, tag any) *Lane { return &Lane{Name: name, Tag: tag} }
