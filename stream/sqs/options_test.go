package sqs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"serval/stream"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		change func(*SourceOptions)
		want   string // "": nothing is wrong
	}{
		{func(o *SourceOptions) {}, ""},
		{func(o *SourceOptions) { o.Queue = "" }, "queue is missing"},
		{func(o *SourceOptions) { o.Queue = "a.b" }, "1 to 80"},
		{func(o *SourceOptions) { o.Queue = strings.Repeat("a", 81) }, "1 to 80"},
		{func(o *SourceOptions) { o.Queue = "a.fifo" }, ""},
		{func(o *SourceOptions) { o.Queue = "ftp://h/1/a" }, "its URL as in"},
		{func(o *SourceOptions) { o.Queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/a.fifo" }, ""},
		{func(o *SourceOptions) { o.Account = "12" }, "12 digits"},
		{func(o *SourceOptions) { o.Account = "123456789012" }, ""},
		{func(o *SourceOptions) { o.Queue, o.Account = "https://h/1/a", "123456789012" }, "remove one of them"},
		{func(o *SourceOptions) { o.Endpoint = "localhost:9324" }, "https://host"},
		{func(o *SourceOptions) { o.AccessKey = "a" }, "set both"},
		{func(o *SourceOptions) { o.SessionToken = "a" }, "access_key, which is missing"},
		{func(o *SourceOptions) { o.Profile, o.Anonymous = "a", true }, "use one of them"},
		{func(o *SourceOptions) { o.Wait = 0 }, "1s to 20s"},
		{func(o *SourceOptions) { o.Wait = 21 * time.Second }, "1s to 20s"},
		{func(o *SourceOptions) { o.Visibility = time.Second }, "2s to 12h"},
		{func(o *SourceOptions) { o.Receivers = 0 }, "1 to 64"},
	} {
		o := defaultSource()
		o.Queue = "q"
		c.change(o)
		err := Broker{}.Check(o)
		if got := fmt.Sprint(err); (err == nil) != (c.want == "") || err != nil && (!strings.Contains(got, c.want) || codeOf(err) != "invalid_argument") {
			t.Errorf("%+v: %v; it must say %q", o, err, c.want)
		}
	}
	to := defaultTarget()
	to.Queue = "q"
	if err := (Broker{}).Check(to); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*TargetOptions){func(o *TargetOptions) { o.MaxMessage = 2 << 20 }, func(o *TargetOptions) { o.Senders = 65 }, func(o *TargetOptions) { o.Queue = "" }} {
		o := *to
		change(&o)
		if err := (Broker{}).Check(&o); codeOf(err) != "invalid_argument" {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := (Broker{}).Check(3); err == nil {
		t.Error("a number is taken for options")
	}
	if got := (Broker{}).Say(&SourceOptions{Connection: Connection{Queue: "https://h/1/name"}}); got != "sqs name" {
		t.Errorf("it is called %q", got)
	}
}

// TestWhere: a queue's URL tells the region and the server, unless they are given; without any region it is asked for.
func TestWhere(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
	for _, c := range []struct {
		Connection
		region, endpoint string
	}{
		{Connection{Queue: "https://sqs.eu-west-1.amazonaws.com/123456789012/a"}, "eu-west-1", "https://sqs.eu-west-1.amazonaws.com"},
		{Connection{Queue: "https://vpce-1.sqs.us-east-2.vpce.amazonaws.com/1/a"}, "us-east-2", "https://vpce-1.sqs.us-east-2.vpce.amazonaws.com"},
		{Connection{Queue: "https://eu-central-1.queue.amazonaws.com/1/a"}, "eu-central-1", "https://eu-central-1.queue.amazonaws.com"},
		{Connection{Queue: "http://localhost:9324/000000000000/a"}, "us-east-1", "http://localhost:9324"},
		{Connection{Queue: "a", Endpoint: "http://h:1", Region: "x-1"}, "x-1", "http://h:1"},
		{Connection{Queue: "a", Region: "ap-south-1"}, "ap-south-1", ""},
	} {
		q, err := c.open(t.Context())
		if err != nil {
			t.Errorf("%+v: %v", c.Connection, err)
			continue
		}
		if o := q.cl.Options(); o.Region != c.region || aws.ToString(o.BaseEndpoint) != c.endpoint || q.name != "a" {
			t.Errorf("%+v: region %q, endpoint %q, name %q", c.Connection, o.Region, aws.ToString(o.BaseEndpoint), q.name)
		}
	}
	if _, err := (&Connection{Queue: "a"}).open(t.Context()); codeOf(err) != "invalid_argument" || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("without a region: %v", err)
	}
	if _, err := (&Connection{Queue: "a", Region: "r", Profile: "none"}).open(t.Context()); codeOf(err) != "invalid_argument" {
		t.Errorf("with a profile that is not there: %v", err)
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	q, err := (&Connection{Queue: "http://127.0.0.1:9/1/a"}).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.attributes(t.Context(), types.QueueAttributeNameAll); codeOf(err) != "permission_denied" || !strings.Contains(err.Error(), "anonymous: true") {
		t.Errorf("without keys: %v", err)
	}
}

// FuzzUnpack: whatever comes from a queue becomes a message; and what is packed of that one is within SQS's limits and comes out
// equal.
func FuzzUnpack(f *testing.F) {
	f.Add("text", "base64", `[{"k":"a","v":"b"}]`, []byte("key"), "name", "value", "group", "1", "1700000000000")
	f.Add("-", "empty", `[`, []byte{}, "x", "", "serval.lane.x", "-1", "x")
	f.Add("aGVsbG8=", "base64", `[{"k":"","b":"AA=="},{"k":"a"},{"k":"a"}]`, []byte{0xff}, "AWS.x", "\x00", "", "", "")
	f.Fuzz(func(t *testing.T, body, encoding, spill string, key []byte, name, value, group, count, sent string) {
		in := &types.Message{
			Body: &body,
			MessageAttributes: map[string]types.MessageAttributeValue{
				name:         {DataType: aws.String("String"), StringValue: &value},
				attrEncoding: {DataType: aws.String("String"), StringValue: &encoding},
				attrHeaders:  {DataType: aws.String("String"), StringValue: &spill},
				attrKey:      {DataType: aws.String("Binary"), BinaryValue: key},
			},
			Attributes: map[string]string{"MessageGroupId": group, "ApproximateReceiveCount": count, "SentTimestamp": sent},
		}
		m := unpack(in)
		if m.Attempt < 0 {
			t.Errorf("attempt %d", m.Attempt)
		}
		for _, fifo := range []bool{false, true} {
			c := pack(&m, fifo)
			if c.body == "" || !isText([]byte(c.body)) || len(c.attrs) > maxAttrs {
				t.Fatalf("%d attributes, body %q", len(c.attrs), c.body)
			}
			back := &types.Message{Body: &c.body, MessageAttributes: c.attrs, Attributes: map[string]string{"MessageGroupId": c.group}}
			if fifo && !isGroup([]byte(strings.TrimPrefix(c.group, ownGroups))) {
				t.Errorf("the group is %q", c.group)
			}
			for name, v := range c.attrs {
				if !isAttr(name) && name != attrKey && name != attrEncoding && name != attrHeaders {
					t.Errorf("an attribute is called %q", name)
				}
				if v.StringValue != nil && !isText([]byte(*v.StringValue)) || v.StringValue == nil && len(v.BinaryValue) == 0 {
					t.Errorf("the attribute %q is %q, %q", name, aws.ToString(v.StringValue), v.BinaryValue)
				}
			}
			got := unpack(back)
			if string(got.Value) != string(m.Value) || string(got.Key) != string(m.Key) {
				t.Errorf("value %q, key %q; not %q, %q", got.Value, got.Key, m.Value, m.Key)
			}
			clean := append([]stream.Header(nil), m.Headers...)
			for i := range clean { // characters that no text of SQS's has, and bytes that are no UTF-8, have another one in their place
				clean[i].Key = strings.Map(allowed, clean[i].Key)
				if raw, err := json.Marshal(clean[i].Key); err == nil {
					_ = json.Unmarshal(raw, &clean[i].Key)
				}
			}
			if !sameHeaders(got.Headers, clean) {
				t.Errorf("headers %q, not %q", got.Headers, clean)
			}
		}
	})
}
