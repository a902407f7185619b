package testkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Queues is a running ElasticMQ, a server that speaks SQS's protocol with SQS's limits, on this machine. It ends with the test's process.
type Queues struct {
	Component
	Endpoint string // http://127.0.0.1:PORT
	Region   string
	Client   *sqs.Client
}

var queues struct {
	sync.Mutex
	shared *Queues
}

// SQS is one that all tests of the process share; each uses queues of its own.
func SQS(t testing.TB) *Queues {
	t.Helper()
	queues.Lock()
	defer queues.Unlock()
	if queues.shared == nil {
		q := newQueues(t)
		q.Start()
		queues.shared = q
	}
	return queues.shared
}

// SQSAlone is one for a single test, which may stop and start it: it keeps its queues and messages in a folder of the test. Killed,
// it loses some.
func SQSAlone(t testing.TB) *Queues {
	t.Helper()
	dir := t.TempDir()
	q := newQueues(t, "queues-storage.enabled=true", "queues-storage.path="+filepath.Join(dir, "queues.conf"),
		"messages-storage.enabled=true", "messages-storage.uri=jdbc:h2:"+filepath.Join(dir, "messages")+";WRITE_DELAY=0") // what it answered is written
	q.keep()
	return q
}

func newQueues(t testing.TB, settings ...string) *Queues {
	t.Helper()
	jars := Cache(t, "sqs")
	at := Port(t)
	q := &Queues{Endpoint: fmt.Sprintf("http://127.0.0.1:%d", at), Region: "us-east-1"}
	q.Client = sqs.New(sqs.Options{Region: q.Region, BaseEndpoint: &q.Endpoint, Credentials: credentials.NewStaticCredentialsProvider("serval", "serval", "")})
	settings = append(settings,
		"rest-sqs.bind-hostname=127.0.0.1", fmt.Sprint("rest-sqs.bind-port=", at), "node-address.host=127.0.0.1", fmt.Sprint("node-address.port=", at),
		"rest-stats.enabled=false", "pekko.loglevel=WARNING",
	)
	q.Component = Component{t: t, name: "elasticmq", stop: syscall.SIGTERM,
		line: func() *exec.Cmd {
			args := []string{"-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData"}
			for _, s := range settings {
				args = append(args, "-D"+s)
			}
			cmd := exec.Command("java", append(args, "-cp", filepath.Join(jars, "*"), "org.elasticmq.server.Main")...)
			cmd.Dir = jars
			return cmd
		},
		up: func() error {
			r, err := http.Get(q.Endpoint + "/?Action=ListQueues")
			if err != nil {
				return err
			}
			return r.Body.Close()
		},
	}
	return q
}

// Queue makes a queue, a FIFO one where its name says so, and returns its URL. settings are attributes, as in
// VisibilityTimeout=5.
func (q *Queues) Queue(t testing.TB, name string, settings ...string) string {
	t.Helper()
	in := &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{}}
	if strings.HasSuffix(name, ".fifo") {
		in.Attributes["FifoQueue"] = "true"
	}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		in.Attributes[key] = value
	}
	out, err := q.Client.CreateQueue(context.Background(), in)
	if err != nil {
		t.Fatalf("sqs: queue %s: %v", name, err)
	}
	return *out.QueueUrl
}

// URL is a queue's.
func (q *Queues) URL(name string) *string { return aws.String(q.Endpoint + "/000000000000/" + name) }

// Counts are how many messages of a queue wait, and how many are in flight.
func (q *Queues) Counts(t testing.TB, name string) (waiting, inFlight int) {
	t.Helper()
	out, err := q.Client.GetQueueAttributes(context.Background(), &sqs.GetQueueAttributesInput{QueueUrl: q.URL(name), AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}})
	if err != nil {
		t.Fatalf("sqs: queue %s: %v", name, err)
	}
	number := func(name types.QueueAttributeName) int {
		n, err := strconv.Atoi(out.Attributes[string(name)])
		if err != nil {
			t.Fatalf("sqs: %s is %q", name, out.Attributes[string(name)])
		}
		return n
	}
	return number(types.QueueAttributeNameApproximateNumberOfMessages), number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
}

// Send sends messages, ten at a time, in order. An entry needs no Id.
func (q *Queues) Send(t testing.TB, name string, list []types.SendMessageBatchRequestEntry) {
	t.Helper()
	for len(list) > 0 {
		n, size := 0, 0
		for n < len(list) && n < 10 && (n == 0 || size+len(*list[n].MessageBody) < 900_000) {
			size += len(*list[n].MessageBody)
			list[n].Id = aws.String(strconv.Itoa(n))
			n++
		}
		out, err := q.Client.SendMessageBatch(context.Background(), &sqs.SendMessageBatchInput{QueueUrl: q.URL(name), Entries: list[:n]})
		if err == nil && len(out.Failed) > 0 {
			err = errors.New(*out.Failed[0].Code)
		}
		if err != nil {
			t.Errorf("sqs: queue %s: send: %v", name, err)
			return
		}
		list = list[n:]
	}
}

// Drain takes everything that waits in a queue out of it, in order, and returns when nothing came for a moment. Where messages are
// in flight then, it waits until they are back: the answer to a receive may be lost, and the client's next one does not bring them.
// Whoever else holds messages of the queue is not waited for.
func (q *Queues) Drain(t testing.TB, name string, wait time.Duration) (list []types.Message) {
	t.Helper()
	limit := time.Now().Add(2 * held)
	for end := time.Now().Add(wait); ; {
		some := q.Receive(t, name)
		if len(some) > 0 {
			list = append(list, some...)
			end = time.Now().Add(wait)
			continue
		}
		if now := time.Now(); now.After(end) {
			if _, inFlight := q.Counts(t, name); inFlight == 0 || now.After(limit) {
				return list
			}
		}
		time.Sleep(min(wait/4, 50*time.Millisecond))
	}
}

// held is for how long a message that was received is given to nobody else. Receive deletes it at once.
const held = 5 * time.Second

// Receive takes up to ten messages that wait in a queue out of it.
func (q *Queues) Receive(t testing.TB, name string) []types.Message {
	t.Helper()
	out, err := q.Client.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{
		QueueUrl: q.URL(name), MaxNumberOfMessages: 10, VisibilityTimeout: int32(held / time.Second), MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		t.Fatalf("sqs: queue %s: receive: %v", name, err)
	}
	if len(out.Messages) == 0 {
		return nil
	}
	in := &sqs.DeleteMessageBatchInput{QueueUrl: q.URL(name)}
	for i, m := range out.Messages {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	if _, err := q.Client.DeleteMessageBatch(context.Background(), in); err != nil {
		t.Fatalf("sqs: queue %s: delete: %v", name, err)
	}
	return out.Messages
}
