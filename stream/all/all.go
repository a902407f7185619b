package all

import (
	"serval/stream"
	"serval/stream/kafka"
)

// New makes every broker.
func New() []stream.Broker {
	return []stream.Broker{
		kafka.New(),
	}
}
