// Package all lists the brokers that are built in. Adding a broker is its folder and one line here.
//
// Called by server and cmd.
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
