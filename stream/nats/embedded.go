package nats

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"serval"
	"serval/stream"
)

const (
	defaultListen = "127.0.0.1:4222"
	startTimeout  = 30 * time.Second // it reads its files first
	memoryLimit   = 256 << 20        // of streams that are kept in memory
)

// embedded is the server in this process.
type embedded struct {
	srv      *server.Server
	settings Embedded
	unlock   func()
}

// settle checks what one stream says of the embedded server against what others said, and with keep adds it.
func (b *Broker) settle(c *Connection, keep bool) error {
	if len(c.URLs) > 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	merged := b.settings
	for _, err := range []error{
		agree("listen", &merged.Listen, c.Embedded.Listen), agree("user", &merged.User, c.Embedded.User), agree("password", &merged.Password, c.Embedded.Password),
		agree("token", &merged.Token, c.Embedded.Token), agree("cert", &merged.Cert, c.Embedded.Cert), agree("key", &merged.Key, c.Embedded.Key),
		agree("max_storage", &merged.MaxStorage, c.Embedded.MaxStorage), agree("max_payload", &merged.MaxPayload, c.Embedded.MaxPayload),
		agree("sync", &merged.Sync, c.Embedded.Sync),
	} {
		if err != nil {
			return err
		}
	}
	if err := merged.check(); err != nil {
		return err
	}
	if b.embedded != nil && merged != b.embedded.settings {
		return bad("embedded", "differs from what the server in this process was started with; restart Serval to change it")
	}
	if keep {
		b.settings = merged
	}
	return nil
}

func agree[T comparable](field string, have *T, said T) error {
	var none T
	switch {
	case said == none || said == *have:
	case *have != none:
		return bad("embedded."+field, "is not what another stream says of the one server in this process; say it once, or alike")
	default:
		*have = said
	}
	return nil
}

// start starts the embedded server, unless it runs.
func (b *Broker) start(env stream.Env) (*embedded, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, serval.Errorf(serval.Unavailable, "nats: the broker is closed")
	case b.embedded != nil:
		return b.embedded, nil
	case env.Dir == "":
		return nil, serval.Errorf(serval.InvalidArgument, "nats: without urls a data folder is needed, where the server in this process keeps its data; start with --data, or name servers").At("urls")
	}
	e, err := startEmbedded(filepath.Join(env.Dir, "nats"), b.settings, env.Warn)
	if err != nil {
		return nil, err
	}
	b.embedded = e
	return e, nil
}

func startEmbedded(dir string, set Embedded, warn func(string, ...any)) (*embedded, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, serval.Errorf(serval.Unavailable, "nats: the server in this process cannot keep its data: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	opts, err := set.options(dir)
	if err != nil {
		unlock()
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		unlock()
		return nil, serval.Errorf(serval.InvalidArgument, "nats: the server in this process cannot be started: %w", err).At("embedded")
	}
	log := &serverLog{warn: warn}
	srv.SetLogger(log, false, false)
	srv.Start()
	e := &embedded{srv: srv, settings: set, unlock: unlock}
	if !srv.ReadyForConnections(startTimeout) || !srv.JetStreamEnabled() {
		reason := log.last()
		_ = e.close()
		return nil, serval.Errorf(serval.Unavailable, "nats: the server in this process did not start within %v: %s", startTimeout, reason)
	}
	return e, nil
}

// options are the server's own.
func (e *Embedded) options(dir string) (*server.Options, error) {
	o := &server.Options{
		ServerName: "serval", JetStream: true, StoreDir: dir, JetStreamMaxMemory: memoryLimit, JetStreamMaxStore: e.MaxStorage, SyncAlways: e.Sync,
		Username: e.User, Password: e.Password, Authorization: e.Token, NoSigs: true, DisableJetStreamBanner: true, MaxPayload: int32(e.MaxPayload),
	}
	if e.Cert != "" {
		pair, err := tls.LoadX509KeyPair(e.Cert, e.Key)
		if err != nil {
			return nil, bad("embedded.cert", "cannot be used: %v", err)
		}
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	listen := e.Listen
	switch listen {
	case "off":
		o.DontListen = true
		return o, nil
	case "":
		listen = defaultListen
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, bad("embedded.listen", "is %q; write host:port such as 127.0.0.1:4222, or off", listen)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return nil, bad("embedded.listen", "is %q; its port must be a number up to 65535", listen)
	}
	// The server itself says that it cannot listen only to its log, and does not end.
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, serval.Errorf(serval.Unavailable, "nats: the server in this process cannot listen on %s (%w); set embedded.listen to a free address, or to off", listen, err).At("embedded.listen")
	}
	_ = l.Close()
	o.Host, o.Port = host, n
	if n == 0 {
		o.Port = server.RANDOM_PORT
	}
	return o, nil
}

// close ends the server and waits until its files are closed.
func (e *embedded) close() error {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
	e.unlock()
	return nil
}

// serverLog passes on what the server warns of.
type serverLog struct {
	warn func(string, ...any)
	mu   sync.Mutex // guards text
	text string
}

func (l *serverLog) say(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.mu.Lock()
	l.text = text
	l.mu.Unlock()
	l.warn("nats: the server in this process says", "text", text)
}

// last is the last warning.
func (l *serverLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text == "" {
		return "it said nothing"
	}
	return l.text
}

func (l *serverLog) Noticef(string, ...any)         {}
func (l *serverLog) Debugf(string, ...any)          {}
func (l *serverLog) Tracef(string, ...any)          {}
func (l *serverLog) Warnf(format string, v ...any)  { l.say(format, v...) }
func (l *serverLog) Errorf(format string, v ...any) { l.say(format, v...) }
func (l *serverLog) Fatalf(format string, v ...any) { l.say(format, v...) }
