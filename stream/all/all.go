package all

import (
	"serval/stream"
	"serval/stream/files"
	"serval/stream/kafka"
	"serval/stream/nats"
	"serval/stream/postgres"
	"serval/stream/sqs"
	"serval/stream/webhook"
)

// New makes every broker.
func New() []stream.Broker {
	return []stream.Broker{
		files.New(),
		kafka.New(),
		nats.New(),
		postgres.New(),
		sqs.New(),
		webhook.New(),
	}
}
