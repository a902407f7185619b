// Package nats reads from and writes to streams of NATS JetStream: of a cluster, or of a server that runs in this process and
// keeps its data in the data folder, which is the default and needs nothing to be installed.
//
// A lane is what one durable pull consumer delivers. A stream whose subject transform has a partition is read in as many lanes,
// another one in a single one, unless the source names subjects with {partition} in them. Whoever reads a lane holds its lease, a
// message of a small stream of leases that expires; the members of a consumer share the lanes evenly and hand them over when
// others come and go. A new holder has the server reset the lane's consumer to the first message that was not acked, so that
// what was under way comes again in order, and sees from the consumer's own count whether it misses one. With order: none there
// are no lanes: all members pull from one consumer, which gives each message to whoever asks first.
//
// A message's key is its header serval-key, else what the wildcards of the lane's subject stand for. The position is the
// stream's name and the message's sequence there. Results carry a Nats-Msg-Id made from the position of the message that they
// answer, by which the server leaves out those that come again within the stream's duplicate window.
//
// place.go finds or makes streams and lays them out in lanes, consumer.go makes their consumers, share.go holds the leases,
// claim.go reads a lane, source.go puts lanes together; embedded.go is the server in this process.
//
// Called by stream/all. It imports the root, stream, nats.go and nats-server, which it owns.
package nats
