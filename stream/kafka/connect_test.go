package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
)

// troubled is an owner that remembers what it was told.
type troubled struct {
	reason atomic.Pointer[string]
	told   func()
}

func (*troubled) Revoke(context.Context, []*stream.Lane) {}
func (*troubled) Lost([]*stream.Lane)                    {}
func (o *troubled) Trouble(reason string) {
	if reason != "" {
		o.reason.Store(&reason)
		o.told()
	}
}

func quiet() stream.Env {
	return stream.Env{Stream: "s", Instance: "i", Owner: &troubled{told: func() {}}, Warn: func(string, ...any) {}}
}

// connections are the ways to reach the broker of the tests.
func connections(t *testing.T, k *testkit.KafkaBroker) map[string]Connection {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, k.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	sasl := func(mechanism string) Connection {
		return Connection{Brokers: []string{k.SASL}, ClientID: "c", SASL: SASL{Mechanism: mechanism, Username: testkit.KafkaUser, Password: testkit.KafkaPassword}}
	}
	return map[string]Connection{
		"plain text": {Brokers: []string{k.Addr}, ClientID: "c"}, "tls": {Brokers: []string{k.TLS}, ClientID: "c", TLS: TLS{On: true, CA: ca}},
		"plain": sasl("plain"), "scram-sha-256": sasl("scram-sha-256"), "scram-sha-512": sasl("scram-sha-512"),
	}
}

// TestConnections: messages are written and read over every kind of connection, with every compression.
func TestConnections(t *testing.T) {
	k := testkit.Kafka(t)
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	all := connections(t, k)
	for i, name := range slices.Sorted(maps.Keys(all)) {
		c, codec := all[name], codecs[i]
		t.Run(strings.ReplaceAll(name, " ", "-")+"/"+codec, func(t *testing.T) {
			t.Parallel()
			topic := fmt.Sprintf("connect-%s-%d", codec, time.Now().UnixNano())
			k.Topic(t, topic, 1)
			to := defaultTarget()
			to.Connection, to.Topic, to.Compression = c, topic, codec
			target, err := Broker{}.Target(t.Context(), to, quiet())
			if err != nil {
				t.Fatal(err)
			}
			value := []byte(strings.Repeat("compress me, please. ", 100))
			if err := target.Write(t.Context(), []*stream.Message{{Key: []byte("k"), Value: value}}); err != nil {
				t.Fatal(err)
			}
			if err := target.Close(); err != nil {
				t.Error(err)
			}
			from := defaultSource()
			from.Connection, from.Topics, from.Group = c, []string{topic}, topic
			source, err := Broker{}.Source(t.Context(), from, quiet())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			list, err := source.Read(ctx, 10)
			if err != nil || len(list) != 1 || string(list[0].Value) != string(value) {
				t.Errorf("read %d messages, %v", len(list), err)
			}
			if err := source.Close(); err != nil {
				t.Error(err)
			}
			cl := bus{k, t}.client(t, kgo.ConsumeTopics(topic))
			defer cl.Close()
			for it := cl.PollFetches(ctx).RecordIter(); !it.Done(); {
				if got := codecs[it.Next().Attrs.CompressionType()]; got != codec {
					t.Errorf("it was sent with %s", got)
				}
			}
		})
	}
}

// TestConnectionsRefused: who may not connect is told why, at both ends.
func TestConnectionsRefused(t *testing.T) {
	k := testkit.Kafka(t)
	topic := fmt.Sprintf("refused-%d", time.Now().UnixNano())
	k.Topic(t, topic, 1)
	all := connections(t, k)
	change := func(name string, f func(*Connection)) Connection {
		c := all[name]
		f(&c)
		return c
	}
	for name, c := range map[string]Connection{
		"password":  change("scram-sha-512", func(c *Connection) { c.SASL.Password = "wrong" }),
		"user":      change("plain", func(c *Connection) { c.SASL.Username = "mallory" }),
		"authority": change("tls", func(c *Connection) { c.TLS.CA = "" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := defaultTarget()
			to.Connection, to.Topic = c, topic
			env := quiet()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			env.Owner.(*troubled).told = cancel
			target, err := Broker{}.Target(t.Context(), to, env)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			if err := target.Write(ctx, []*stream.Message{{Value: []byte("v")}}); err == nil {
				t.Error("it was written")
			} else if stream.IsPermanent(err) {
				t.Errorf("%v is no reason to give a message up", err)
			}
			said := env.Owner.(*troubled).reason.Load()
			if said == nil || !strings.Contains(*said, "kafka: ") {
				t.Error("nobody was told")
			} else {
				t.Log(*said)
			}
		})
	}
}

// TestPeekGone: a look at what is not there says so.
func TestPeekGone(t *testing.T) {
	k := testkit.Kafka(t)
	o := defaultTarget()
	o.Brokers, o.Topic = []string{k.Addr}, "no-such-topic"
	_, err := Broker{}.Peek(t.Context(), o, stream.View{}, quiet())
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != serval.NotFound {
		t.Errorf("%v", err)
	}
}
