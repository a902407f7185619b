package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"serval"
	"serval/stream"
)

// Connection says how a cluster is reached.
type Connection struct {
	Brokers  []string `yaml:"brokers" doc:"some of the cluster's brokers, as host:port"`
	ClientID string   `yaml:"client_id" doc:"what the brokers' logs and quotas know this client by"`
	TLS      TLS      `yaml:"tls" doc:"encryption"`
	SASL     SASL     `yaml:"sasl" doc:"who this client is"`
}

// TLS is how a connection is encrypted.
type TLS struct {
	On         bool   `yaml:"on" doc:"encrypt the connections"`
	CA         string `yaml:"ca" doc:"PEM file of those who may have signed the brokers' certificates; default: the system's"`
	Cert       string `yaml:"cert" doc:"PEM file of this client's own certificate, where the brokers ask for one"`
	Key        string `yaml:"key" doc:"PEM file of its private key"`
	ServerName string `yaml:"server_name" doc:"the name in the brokers' certificates, where it is not their host's"`
}

// SASL is a user and how it is proven.
type SASL struct {
	Mechanism string `yaml:"mechanism" doc:"plain, scram-sha-256 or scram-sha-512; default: no user" enum:"plain,scram-sha-256,scram-sha-512"`
	Username  string `yaml:"username" doc:"the user"`
	Password  string `yaml:"password" doc:"the password; write ${NAME} to take it from the environment"`
}

// SourceOptions say what is read.
type SourceOptions struct {
	Connection       `yaml:",inline"`
	Topics           []string      `yaml:"topics" doc:"what is read"`
	Group            string        `yaml:"group" doc:"the consumer group: its members share the partitions, and its offsets are where reading goes on"`
	Start            string        `yaml:"start" doc:"where a group without offsets begins: earliest, latest, or a time such as 2026-11-27T08:00:00Z"`
	Isolation        string        `yaml:"isolation" doc:"whether messages of transactions are read before they are committed" enum:"read_committed,read_uncommitted"`
	InstanceID       string        `yaml:"instance_id" doc:"static membership: a member of this name that is back within session_timeout keeps its partitions"`
	SessionTimeout   time.Duration `yaml:"session_timeout" doc:"a member that is not heard of for so long loses its partitions"`
	RebalanceTimeout time.Duration `yaml:"rebalance_timeout" doc:"how long a member may take to give partitions away"`
	Handover         time.Duration `yaml:"handover" doc:"how long a partition that is given away waits for what is under way; what is not finished by then is done again by its next owner"`
	CommitInterval   time.Duration `yaml:"commit_interval" doc:"how often offsets of what was written are committed"`
	FetchMaxBytes    int           `yaml:"fetch_max_bytes" doc:"most bytes of one fetch from a broker" min:"1024" max:"1073741824"`
}

// TargetOptions say what is written.
type TargetOptions struct {
	Connection  `yaml:",inline"`
	Topic       string        `yaml:"topic" doc:"what is written to"`
	Compression string        `yaml:"compression" doc:"of what is sent" enum:"none,gzip,snappy,lz4,zstd"`
	MaxMessage  int           `yaml:"max_message" doc:"largest message, in bytes, after compression; no more than the topic's max.message.bytes" min:"1024" max:"1073741824"`
	Linger      time.Duration `yaml:"linger" doc:"how long a message may wait for others to be sent with"`
	// TransactionalID is of exactly-once streams.
	TransactionalID    string        `yaml:"transactional_id" doc:"of exactly-once: the name of this server's transactions, which no other may have; default: made from stream and server"`
	TransactionTimeout time.Duration `yaml:"transaction_timeout" doc:"of exactly-once: the brokers undo a transaction that is open for longer"`
}

func defaultSource() *SourceOptions {
	return &SourceOptions{
		Connection: Connection{ClientID: "serval"}, Start: "earliest", Isolation: "read_committed", SessionTimeout: 45 * time.Second,
		RebalanceTimeout: time.Minute, Handover: 15 * time.Second, CommitInterval: 500 * time.Millisecond, FetchMaxBytes: 16 << 20,
	}
}

func defaultTarget() *TargetOptions {
	return &TargetOptions{
		Connection: Connection{ClientID: "serval"}, Compression: "lz4", MaxMessage: 1_000_000, TransactionTimeout: time.Minute,
	}
}

func bad(field, format string, args ...any) error {
	return serval.Errorf(serval.InvalidArgument, "kafka: "+field+" "+format, args...).At(field)
}

// common checks a connection and makes the options of its client.
func (c *Connection) common(env stream.Env) ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, bad("brokers", "is missing; name a broker or two as host:port")
	}
	for _, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			return nil, bad("brokers", "has %q; write host:port such as kafka-1:9092", b)
		}
	}
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID(c.ClientID), kgo.WithLogger(logger{env}), kgo.WithHooks(&doorbell{env: env}), kgo.DisableClientMetrics()}
	if c.TLS.On {
		t, err := c.TLS.config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	} else if c.TLS != (TLS{}) {
		return nil, bad("tls", "has files, but on is false; set on: true")
	}
	s := &c.SASL
	if s.Mechanism != "" && (s.Username == "" || s.Password == "") {
		return nil, bad("sasl", "has the mechanism %s, which needs username and password", s.Mechanism)
	}
	switch s.Mechanism {
	case "":
		if s.Username != "" || s.Password != "" {
			return nil, bad("sasl.mechanism", "is missing; use plain, scram-sha-256 or scram-sha-512")
		}
	case "plain":
		opts = append(opts, kgo.SASL(plain.Auth{User: s.Username, Pass: s.Password}.AsMechanism()))
	case "scram-sha-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: s.Username, Pass: s.Password}.AsSha256Mechanism()))
	case "scram-sha-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: s.Username, Pass: s.Password}.AsSha512Mechanism()))
	default:
		return nil, bad("sasl.mechanism", "is %q; use plain, scram-sha-256 or scram-sha-512", s.Mechanism)
	}
	return opts, nil
}

func (t *TLS) config() (*tls.Config, error) {
	c, field, err := stream.TLSFiles{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName}.Config()
	if err != nil {
		return nil, bad("tls."+field, "%v", err)
	}
	return c, nil
}

// consumer makes the options of reading.
func (o *SourceOptions) consumer(env stream.Env) ([]kgo.Opt, error) {
	opts, err := o.common(env)
	if err != nil {
		return nil, err
	}
	if len(o.Topics) == 0 {
		return nil, bad("topics", "is missing; name what is read")
	}
	if o.Group == "" {
		return nil, bad("group", "is missing; name the consumer group, whose offsets are where reading goes on")
	}
	var start kgo.Offset
	switch o.Start {
	case "earliest":
		start = kgo.NewOffset().AtStart()
	case "latest":
		start = kgo.NewOffset().AtEnd()
	default:
		at, err := time.Parse(time.RFC3339, o.Start)
		if err != nil {
			return nil, bad("start", "is %q; use earliest, latest, or a time such as 2026-11-27T08:00:00Z", o.Start)
		}
		start = kgo.NewOffset().AfterMilli(at.UnixMilli())
	}
	isolation := kgo.ReadCommitted()
	if o.Isolation == "read_uncommitted" {
		isolation = kgo.ReadUncommitted()
	}
	if o.Handover >= o.RebalanceTimeout {
		return nil, bad("handover", "is %v; it must be shorter than rebalance_timeout, which is %v", o.Handover, o.RebalanceTimeout)
	}
	opts = append(opts, kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topics...), kgo.ConsumeStartOffset(start), kgo.ConsumeResetOffset(start),
		kgo.FetchIsolationLevel(isolation), kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.SessionTimeout(o.SessionTimeout),
		kgo.RebalanceTimeout(o.RebalanceTimeout), kgo.HeartbeatInterval(max(o.SessionTimeout/15, 100*time.Millisecond)),
		kgo.FetchMaxBytes(int32(o.FetchMaxBytes)), kgo.FetchMaxPartitionBytes(int32(o.FetchMaxBytes)), kgo.BlockRebalanceOnPoll())
	if o.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(o.InstanceID))
	}
	return opts, nil
}

// producer makes the options of writing.
func (o *TargetOptions) producer() ([]kgo.Opt, error) {
	if o.Topic == "" {
		return nil, bad("topic", "is missing; name what is written to")
	}
	var codec kgo.CompressionCodec
	switch o.Compression {
	case "none", "":
		codec = kgo.NoCompression()
	case "gzip":
		codec = kgo.GzipCompression()
	case "snappy":
		codec = kgo.SnappyCompression()
	case "lz4":
		codec = kgo.Lz4Compression()
	case "zstd":
		codec = kgo.ZstdCompression()
	default:
		return nil, bad("compression", "is %q; use none, gzip, snappy, lz4 or zstd", o.Compression)
	}
	linger := o.Linger
	if o.room().flush {
		linger = gathering
	}
	return []kgo.Opt{
		kgo.DefaultProduceTopic(o.Topic), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(int32(o.MaxMessage)),
		kgo.BrokerMaxWriteBytes(int32(max(100<<20, 2*o.MaxMessage))), kgo.ProducerLinger(linger), kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}),
		kgo.RecordDeliveryTimeout(30 * time.Second), kgo.UnknownTopicRetries(2), kgo.MaxBufferedRecords(1 << 16),
	}, nil
}

// logger hands franz-go's warnings on.
type logger struct{ env stream.Env }

func (l logger) Level() kgo.LogLevel { return kgo.LogLevelWarn }
func (l logger) Log(_ kgo.LogLevel, msg string, keyvals ...any) {
	if l.env.Warn != nil {
		l.env.Warn("kafka: "+msg, keyvals...)
	}
}

// doorbell says when the brokers cannot be reached.
type doorbell struct{ env stream.Env }

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (d *doorbell) OnBrokerConnect(m kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if d.env.Owner == nil {
		return
	}
	if err != nil && !strings.Contains(err.Error(), context.Canceled.Error()) {
		d.env.Owner.Trouble(fmt.Sprintf("kafka: %s:%d cannot be reached: %v", m.Host, m.Port, err))
	} else if err == nil {
		d.env.Owner.Trouble("")
	}
}

var _ kgo.HookBrokerConnect = (*doorbell)(nil)
