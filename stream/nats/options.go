package nats

import (
	"net"
	"strings"
	"time"

	"serval"
)

// Connection says which server is meant, and who asks.
type Connection struct {
	URLs     []string `yaml:"urls" doc:"some servers of a NATS cluster, as nats://host:4222; default: the server that runs in this process, see embedded"`
	User     string   `yaml:"user" doc:"with urls: the user"`
	Password string   `yaml:"password" doc:"with urls: the user's password; write ${NAME} to take it from the environment"`
	Token    string   `yaml:"token" doc:"with urls: a token instead of user and password; write ${NAME} to take it from the environment"`
	Creds    string   `yaml:"creds" doc:"with urls: file with a user's JWT and seed, as nsc writes it"`
	NKey     string   `yaml:"nkey" doc:"with urls: file with the seed of a user's NKey"`
	TLS      TLS      `yaml:"tls" doc:"with urls: encryption"`
	Domain   string   `yaml:"domain" doc:"with urls: the JetStream domain, where it is not the one of the servers"`
	Embedded Embedded `yaml:"embedded" doc:"without urls: the server in this process; what one stream says of it holds for all of them"`
}

// TLS is how a connection is encrypted.
type TLS struct {
	On    bool   `yaml:"on" doc:"encrypt the connections; tls:// in urls does it too"`
	CA    string `yaml:"ca" doc:"PEM file of those who may have signed the servers' certificates; default: the system's"`
	Cert  string `yaml:"cert" doc:"PEM file of this client's own certificate, where the servers ask for one"`
	Key   string `yaml:"key" doc:"PEM file of its private key"`
	Name  string `yaml:"server_name" doc:"the name in the servers' certificates, where it is not their host's"`
	First bool   `yaml:"first" doc:"the servers want the handshake before anything else (handshake_first)"`
}

// Embedded is the server in this process. A zero value is the default.
type Embedded struct {
	Listen     string `yaml:"listen" doc:"where others reach it; default 127.0.0.1:4222; off: nowhere. Another address than loopback's needs user and password, or token"`
	User       string `yaml:"user" doc:"the one user that is let in; default: everybody who reaches it"`
	Password   string `yaml:"password" doc:"the user's password; write ${NAME} to take it from the environment"`
	Token      string `yaml:"token" doc:"a token instead of user and password"`
	Cert       string `yaml:"cert" doc:"PEM file of its certificate: connections from outside are encrypted"`
	Key        string `yaml:"key" doc:"PEM file of the certificate's private key"`
	MaxStorage int64  `yaml:"max_storage" doc:"most bytes of its files together; 0: three quarters of the free disk at its start" min:"0"`
	MaxPayload int    `yaml:"max_payload" doc:"largest message, in bytes; 0: 1 MiB" min:"0" max:"67108864"`
	Sync       bool   `yaml:"sync" doc:"sync its files before each acknowledgement: nothing is lost in a power cut either, and writing is many times slower"`
}

// Make says whether and how a stream is made that does not exist.
type Make struct {
	When       string        `yaml:"when" doc:"embedded (default): on the server in this process only; always; never: somebody else makes it" enum:"embedded,always,never"`
	Partitions int           `yaml:"partitions" doc:"lanes of its messages, by subject: each keeps its order, and workers share them; 1: one order over all" min:"1" max:"256"`
	Storage    string        `yaml:"storage" doc:"where the servers keep it" enum:"file,memory"`
	Replicas   int           `yaml:"replicas" doc:"servers that keep it: 1, 3 or 5" min:"1" max:"5"`
	Retention  string        `yaml:"retention" doc:"limits: messages stay until a limit is reached; workqueue: until they are answered; interest: until all consumers have answered them" enum:"limits,workqueue,interest"`
	MaxAge     time.Duration `yaml:"max_age" doc:"older messages are removed, answered or not; 0s: none"`
	MaxBytes   int64         `yaml:"max_bytes" doc:"most bytes; 0: no limit" min:"0"`
	MaxCount   int64         `yaml:"max_messages" doc:"most messages; 0: no limit" min:"0"`
	Full       string        `yaml:"full" doc:"at a limit: refuse new messages, or remove the oldest, answered or not" enum:"refuse,remove"`
	Duplicates time.Duration `yaml:"duplicates" doc:"a message that comes again within this time, by its Nats-Msg-Id, is left out"`
}

// SourceOptions say what is read.
type SourceOptions struct {
	Connection    `yaml:",inline"`
	Stream        string        `yaml:"stream" doc:"the JetStream stream that is read"`
	Subjects      []string      `yaml:"subjects" doc:"those of its messages that are read, wildcards as usual; default: all. With {partition} in place of a token, each partition is a lane of its own"`
	Partitions    int           `yaml:"partitions" doc:"how many partitions {partition} in subjects stands for, from 0 on" min:"0" max:"256"`
	Consumer      string        `yaml:"consumer" doc:"name of the durable consumer, whose members share the messages; with several lanes each has its own, with -0, -1, … behind the name; default: the stream's name in streams"`
	Order         string        `yaml:"order" doc:"lane: the answers of each lane come in order, and one worker reads it at a time; none: every worker takes whatever message comes next" enum:"lane,none"`
	Start         string        `yaml:"start" doc:"where a consumer begins that does not exist yet: all, new, or a time such as 2026-11-27T08:00:00Z"`
	AckWait       time.Duration `yaml:"ack_wait" doc:"a message that nothing is heard of for so long is given out again; while it is worked on, the server is told"`
	MaxAckPending int           `yaml:"max_ack_pending" doc:"most messages of one lane that are given out and not acked" min:"1" max:"1000000"`
	Lease         time.Duration `yaml:"lease" doc:"a worker that is not heard of for so long loses its lanes"`
	Handover      time.Duration `yaml:"handover" doc:"how long a lane that is given away waits for what is under way; what is not finished by then is done again by its next owner"`
	Make          Make          `yaml:"make" doc:"the stream, where it does not exist: it then takes the subjects, by default its own name and what follows after a dot"`
}

// TargetOptions say what is written.
type TargetOptions struct {
	Connection  `yaml:",inline"`
	Subject     string        `yaml:"subject" doc:"what is published to; {key} in place of a token is the message's key, or _ where it has none"`
	Stream      string        `yaml:"stream" doc:"the JetStream stream that must take it; default: whichever does"`
	AckTimeout  time.Duration `yaml:"ack_timeout" doc:"how long the server may take to confirm a message before it is published again"`
	Deduplicate bool          `yaml:"deduplicate" doc:"name each result after the message that it answers (Nats-Msg-Id), so that the server leaves out those that come again"`
	Make        Make          `yaml:"make" doc:"the stream, where none takes the subject: it is named stream, or after the beginning of the subject"`
}

func defaultMake() Make {
	return Make{When: "embedded", Partitions: 8, Storage: "file", Replicas: 1, Retention: "limits", MaxAge: 7 * 24 * time.Hour, Full: "refuse", Duplicates: 2 * time.Minute}
}

func defaultSource() *SourceOptions {
	return &SourceOptions{
		Order: "lane", Start: "all", AckWait: 30 * time.Second, MaxAckPending: 65536, Lease: 10 * time.Second, Handover: 15 * time.Second, Make: defaultMake(),
	}
}

func defaultTarget() *TargetOptions {
	return &TargetOptions{AckTimeout: 10 * time.Second, Deduplicate: true, Make: defaultMake()}
}

func bad(field, format string, args ...any) error {
	return serval.Errorf(serval.InvalidArgument, "nats: "+field+" "+format, args...).At(field)
}

// partitionMark in a subject stands for a partition's number, keyMark for a message's key.
const (
	partitionMark = "{partition}"
	keyMark       = "{key}"
)

func (o *SourceOptions) check() error {
	if err := o.Connection.check(); err != nil {
		return err
	}
	if err := checkName("stream", o.Stream); err != nil {
		return err
	}
	if o.Consumer != "" {
		if err := checkName("consumer", o.Consumer); err != nil {
			return err
		}
	}
	marked := false
	for _, s := range o.Subjects {
		plain := strings.ReplaceAll(s, partitionMark, "0")
		if !validSubject(plain, true) {
			return bad("subjects", "has %q, which is no subject; write tokens with dots between them, such as orders.*.new or orders.>", s)
		}
		marked = marked || plain != s
	}
	if marked && o.Partitions == 0 {
		return bad("partitions", "is missing; say how many numbers {partition} in subjects stands for")
	}
	if !marked && o.Partitions > 0 {
		return bad("partitions", "is %d, but no subject has {partition}; write it into subjects in place of the number, or remove partitions", o.Partitions)
	}
	if marked && o.Order == "none" {
		return bad("order", "is none, which reads no partitions; write * in place of {partition}")
	}
	if _, err := o.start(); err != nil {
		return err
	}
	if o.AckWait < time.Second {
		return bad("ack_wait", "is %v; use 1s or more", o.AckWait)
	}
	if o.Lease < 500*time.Millisecond {
		return bad("lease", "is %v; use 500ms or more", o.Lease)
	}
	return o.Make.check()
}

// start is the time at which a new consumer begins; zero: at the first message, or the next one where o.Start is "new".
func (o *SourceOptions) start() (time.Time, error) {
	if o.Start == "all" || o.Start == "new" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, o.Start)
	if err != nil {
		return time.Time{}, bad("start", "is %q; use all, new, or a time such as 2026-11-27T08:00:00Z", o.Start)
	}
	return at, nil
}

func (o *TargetOptions) check() error {
	if err := o.Connection.check(); err != nil {
		return err
	}
	if o.Subject == "" {
		return bad("subject", "is missing; name what is written to")
	}
	if plain := strings.ReplaceAll(o.Subject, keyMark, "k"); !validSubject(plain, false) || strings.ContainsAny(plain, "{}") {
		return bad("subject", "is %q, to which nobody can publish; write tokens with dots between them, without wildcards, such as scores or scores.{key}", o.Subject)
	}
	if strings.HasPrefix(o.Subject, keyMark) {
		return bad("subject", "is %q; begin it with a token of your own, such as scores.{key}, so that keys cannot reach other streams", o.Subject)
	}
	for token := range strings.SplitSeq(o.Subject, ".") {
		if strings.Contains(token, keyMark) && token != keyMark {
			return bad("subject", "is %q; {key} must be a token of its own, with dots around it", o.Subject)
		}
	}
	if o.Stream != "" {
		if err := checkName("stream", o.Stream); err != nil {
			return err
		}
	}
	if o.AckTimeout < 100*time.Millisecond {
		return bad("ack_timeout", "is %v; use 100ms or more", o.AckTimeout)
	}
	return o.Make.check()
}

func (m *Make) check() error {
	switch {
	case m.Replicas != 1 && m.Replicas != 3 && m.Replicas != 5:
		return bad("make.replicas", "is %d; use 1, 3 or 5", m.Replicas)
	case m.MaxAge > 0 && m.MaxAge < time.Second:
		return bad("make.max_age", "is %v; use 1s or more, or 0s for none", m.MaxAge)
	case m.Duplicates < time.Second:
		return bad("make.duplicates", "is %v; use 1s or more, or deduplicate: false in targets", m.Duplicates)
	case m.MaxAge > 0 && m.Duplicates > m.MaxAge:
		return bad("make.duplicates", "is %v, longer than max_age (%v)", m.Duplicates, m.MaxAge)
	}
	return nil
}

func (c *Connection) check() error {
	if len(c.URLs) == 0 {
		for field, v := range map[string]string{"user": c.User, "password": c.Password, "token": c.Token, "creds": c.Creds, "nkey": c.NKey, "domain": c.Domain} {
			if v != "" {
				return bad(field, "is of an external server, but urls is empty; name the servers, or write embedded.user, embedded.password or embedded.token")
			}
		}
		if c.TLS != (TLS{}) {
			return bad("tls", "is of an external server, but urls is empty; name the servers, or write embedded.cert and embedded.key")
		}
		return c.Embedded.check()
	}
	if c.Embedded != (Embedded{}) {
		return bad("embedded", "is read only without urls; remove one of them")
	}
	_, err := c.external()
	return err
}

func (e *Embedded) check() error {
	if e.User != "" && e.Token != "" {
		return bad("embedded.token", "is given beside user; use one of them")
	}
	if (e.User == "") != (e.Password == "") {
		return bad("embedded.user", "and embedded.password belong together; give both")
	}
	if (e.Cert == "") != (e.Key == "") {
		return bad("embedded.cert", "and embedded.key belong together; name both files")
	}
	if e.Listen == "" || e.Listen == "off" {
		return nil
	}
	host, _, err := net.SplitHostPort(e.Listen)
	if err != nil {
		return bad("embedded.listen", "is %q; write host:port such as 127.0.0.1:4222, or off", e.Listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && e.User == "" && e.Token == "" {
		return bad("embedded.listen", "is %s, which others reach; give embedded.user and embedded.password, or embedded.token, or listen on 127.0.0.1", e.Listen)
	}
	return nil
}

// checkName checks the name of a stream or consumer, which the server puts into subjects and file names.
func checkName(field, name string) error {
	if name == "" {
		return bad(field, "is missing; name the stream of JetStream")
	}
	if len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r) }) {
		return bad(field, "is %q; use at most 128 of the characters a-z A-Z 0-9 - _", name)
	}
	return nil
}

func nameRune(r rune) bool {
	return r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// named makes a name of a text, such as a subject.
func named(text string) string {
	return strings.Map(func(r rune) rune {
		if nameRune(r) {
			return r
		}
		return '_'
	}, text)
}

// validSubject says whether a subject can be published to, or with wild be subscribed to.
func validSubject(s string, wild bool) bool {
	if s == "" || len(s) > 1024 {
		return false
	}
	tokens := strings.Split(s, ".")
	for i, t := range tokens {
		switch {
		case t == "", strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r == 0x7f }):
			return false
		case t == "*" && wild, t == ">" && wild && i == len(tokens)-1:
		case strings.ContainsAny(t, "*>"):
			return false
		}
	}
	return true
}
