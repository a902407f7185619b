package all

import (
	"serval/stream"
	"serval/stream/kafka"
	"serval/stream/nats"
)

// New makes every broker.
func New() []stream.Broker {
	return []stream.Broker{
		kafka.New(),
		nats.New(),
	}
}
