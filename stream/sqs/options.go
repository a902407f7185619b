package sqs

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"serval"
)

// Connection says which queue, and how it is reached. What is empty is found as AWS's own programs find it: environment, shared
// files, the machine's role.
type Connection struct {
	Queue        string `yaml:"queue" doc:"the queue: its name or its URL; a FIFO queue's ends with .fifo"`
	Account      string `yaml:"account" doc:"the account of a queue that is named and is another account's: 12 digits"`
	Region       string `yaml:"region" doc:"as in eu-west-1; default: that of the queue's URL, else as configured for AWS's programs"`
	Endpoint     string `yaml:"endpoint" doc:"of a server that is compatible, as in http://localhost:9324; default: that of the queue's URL, else Amazon's"`
	Profile      string `yaml:"profile" doc:"the profile in AWS's shared files, which may name a role"`
	AccessKey    string `yaml:"access_key" doc:"with secret_key: the keys; default: as AWS's programs find them; write ${NAME} to take it from the environment"`
	SecretKey    string `yaml:"secret_key" doc:"the secret one; write ${NAME} to take it from the environment"`
	SessionToken string `yaml:"session_token" doc:"of keys for a while"`
	Anonymous    bool   `yaml:"anonymous" doc:"requests are not signed: a server for development, or a queue that is open to all, needs no keys"`
}

// SourceOptions say what is read.
type SourceOptions struct {
	Connection `yaml:",inline"`
	Wait       time.Duration `yaml:"wait" doc:"how long a request for messages waits where there are none, 1s to 20s: longer costs fewer requests"`
	Visibility time.Duration `yaml:"visibility" doc:"a message that this worker is not heard of for so long is given to another one; it is extended while work on the message runs"`
	Receivers  int           `yaml:"receivers" doc:"most requests for messages at the same time, of ten messages each; one where the queue is empty" min:"1" max:"64"`
}

// TargetOptions say what is written.
type TargetOptions struct {
	Connection `yaml:",inline"`
	MaxMessage int `yaml:"max_message" doc:"largest message with its attributes, in bytes; no more than the queue's MaximumMessageSize" min:"1024" max:"1048576"`
	Senders    int `yaml:"senders" doc:"most requests at the same time, of ten messages each; those of a message group follow each other" min:"1" max:"64"`
}

// Limits of SQS.
const (
	fifoSuffix    = ".fifo"
	maxBatch      = 10      // messages of a request
	maxBytes      = 1 << 20 // of a message, and of all messages of a request
	maxWait       = 20 * time.Second
	maxVisibility = 12 * time.Hour
)

func defaultSource() *SourceOptions {
	return &SourceOptions{Wait: maxWait, Visibility: 30 * time.Second, Receivers: 8}
}

func defaultTarget() *TargetOptions { return &TargetOptions{MaxMessage: maxBytes, Senders: 8} }

func bad(field, format string, args ...any) error {
	return serval.Errorf(serval.InvalidArgument, "sqs: "+field+" "+format, args...).At(field)
}

var (
	queueName   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$|^[A-Za-z0-9_-]{1,75}\.fifo$`)
	accountName = regexp.MustCompile(`^[0-9]{12}$`)
	// hostRegion is where the host of a queue's URL has its region: sqs.eu-west-1.amazonaws.com, and as it was once,
	// eu-west-1.queue.amazonaws.com.
	hostRegion = regexp.MustCompile(`(?:^|\.)sqs(?:-fips)?\.([a-z0-9-]+)\.|^([a-z0-9-]+)\.queue\.amazonaws\.`)
)

// isURL says whether the queue is named by its URL.
func (c *Connection) isURL() bool { return strings.Contains(c.Queue, "://") }

// name is the queue's.
func (c *Connection) name() string {
	return c.Queue[strings.LastIndexByte(c.Queue, '/')+1:]
}

func isHTTP(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func (c *Connection) check() error {
	switch {
	case c.Queue == "":
		return bad("queue", "is missing; name a queue, or give its URL")
	case c.isURL():
		if _, ok := isHTTP(c.Queue); !ok {
			return bad("queue", "is %q; write its name, or its URL as in https://sqs.eu-west-1.amazonaws.com/123456789012/name", c.Queue)
		}
		if c.Account != "" {
			return bad("account", "is of a queue that is named, and this one has a URL; remove one of them")
		}
	case c.Account != "" && !accountName.MatchString(c.Account):
		return bad("account", "is %q; an account has 12 digits", c.Account)
	}
	if !queueName.MatchString(c.name()) {
		return bad("queue", "is %q; a queue's name has 1 to 80 of the characters a-z A-Z 0-9 - _, and that of a FIFO queue ends with .fifo", c.Queue)
	}
	if _, ok := isHTTP(c.Endpoint); c.Endpoint != "" && !ok {
		return bad("endpoint", "is %q; write it as in https://host", c.Endpoint)
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return bad("access_key", "and secret_key go together; set both, or neither")
	}
	if c.SessionToken != "" && c.AccessKey == "" {
		return bad("session_token", "is of an access_key, which is missing")
	}
	ways := 0
	for _, used := range []bool{c.Anonymous, c.AccessKey != "", c.Profile != ""} {
		if used {
			ways++
		}
	}
	if ways > 1 {
		return bad("access_key", "profile and anonymous are three ways to say who asks; use one of them")
	}
	return nil
}

func (o *SourceOptions) check() error {
	if err := o.Connection.check(); err != nil {
		return err
	}
	switch {
	case o.Wait < time.Second || o.Wait > maxWait:
		return bad("wait", "is %v; SQS takes 1s to 20s", o.Wait)
	case o.Visibility < 2*time.Second || o.Visibility > maxVisibility:
		return bad("visibility", "is %v; use 2s to 12h", o.Visibility)
	case o.Receivers < 1 || o.Receivers > 64:
		return bad("receivers", "is %d; use 1 to 64", o.Receivers)
	}
	return nil
}

func (o *TargetOptions) check() error {
	if err := o.Connection.check(); err != nil {
		return err
	}
	switch {
	case o.MaxMessage < 1024 || o.MaxMessage > maxBytes:
		return bad("max_message", "is %d; SQS takes 1024 to %d bytes", o.MaxMessage, maxBytes)
	case o.Senders < 1 || o.Senders > 64:
		return bad("senders", "is %d; use 1 to 64", o.Senders)
	}
	return nil
}

// seconds are whole ones, rounded up: SQS knows no others.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }
