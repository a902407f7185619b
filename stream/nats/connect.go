package nats

import (
	"crypto/tls"
	"errors"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/stream"
)

// connectTimeout bounds the way to one server.
const connectTimeout = 5 * time.Second

// connect opens a connection. It comes back by itself when it is lost; env's owner is told of both.
func (b *Broker) connect(c *Connection, env stream.Env, more ...natsgo.Option) (*natsgo.Conn, error) {
	var opts []natsgo.Option
	where := natsgo.DefaultURL
	if len(c.URLs) == 0 {
		if err := b.settle(c, true); err != nil {
			return nil, err
		}
		e, err := b.start(env)
		if err != nil {
			return nil, err
		}
		opts = append(opts, natsgo.InProcessServer(e.srv))
		switch {
		case e.settings.User != "":
			opts = append(opts, natsgo.UserInfo(e.settings.User, e.settings.Password))
		case e.settings.Token != "":
			opts = append(opts, natsgo.Token(e.settings.Token))
		}
	} else {
		var err error
		if opts, err = c.external(); err != nil {
			return nil, err
		}
		where = strings.Join(c.URLs, ",")
	}
	trouble := func(text string) {
		if env.Owner != nil {
			env.Owner.Trouble(text)
		}
	}
	said := &repeated{}
	opts = append(opts, natsgo.Name("serval "+env.Stream), natsgo.Timeout(connectTimeout), natsgo.MaxReconnects(-1), natsgo.IgnoreAuthErrorAbort(),
		natsgo.ReconnectWait(250*time.Millisecond), natsgo.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) {
			if err != nil {
				trouble("nats: the connection is lost: " + err.Error())
			}
		}),
		natsgo.ReconnectHandler(func(*natsgo.Conn) { trouble("") }),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
			if errors.Is(err, natsgo.ErrPermissionViolation) {
				trouble(err.Error())
			}
			if said.again(err.Error(), time.Now()) {
				return
			}
			env.Warn("nats: the server says", "error", err)
		}))
	nc, err := natsgo.Connect(where, append(opts, more...)...)
	if err != nil {
		return nil, unreachable(where, err)
	}
	return nc, nil
}

// repeated keeps what the server says again and again from filling the log.
type repeated struct {
	mu   sync.Mutex // guards what follows
	text string
	at   time.Time
}

// again says whether the same was said within the last ten seconds.
func (r *repeated) again(text string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if text == r.text && now.Sub(r.at) < 10*time.Second {
		return true
	}
	r.text, r.at = text, now
	return false
}

func unreachable(where string, err error) error {
	code := serval.Unavailable
	if errors.Is(err, natsgo.ErrAuthorization) || errors.Is(err, natsgo.ErrAuthExpired) {
		code = serval.Unauthenticated
	}
	return serval.Errorf(code, "nats: no connection to %s: %w", redacted(where), err)
}

// redacted is where without the passwords that URLs may hold.
func redacted(where string) string {
	list := strings.Split(where, ",")
	for i, u := range list {
		if p, err := url.Parse(u); err == nil {
			list[i] = p.Redacted()
		}
	}
	return strings.Join(list, ",")
}

// jetStream is the API over a connection.
func (c *Connection) jetStream(nc *natsgo.Conn, opts ...jetstream.JetStreamOpt) (jetstream.JetStream, error) {
	if c.Domain != "" {
		return jetstream.NewWithDomain(nc, c.Domain, opts...)
	}
	return jetstream.New(nc, opts...)
}

// api is the beginning of the subjects of JetStream's API.
func (c *Connection) api() string {
	if c.Domain != "" {
		return "$JS." + c.Domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}

// external checks what is said of the servers of urls, and makes the options of a connection to them.
func (c *Connection) external() ([]natsgo.Option, error) {
	for _, u := range c.URLs {
		p, err := url.Parse(u)
		if err != nil || p.Host == "" || p.Scheme != "nats" && p.Scheme != "tls" && p.Scheme != "ws" && p.Scheme != "wss" {
			return nil, bad("urls", "has %q; write nats://host:4222, tls:// or wss://", redacted(u))
		}
	}
	var opts []natsgo.Option
	var ways []string
	if c.User != "" || c.Password != "" {
		if c.User == "" || c.Password == "" {
			return nil, bad("user", "and password belong together; give both")
		}
		ways = append(ways, "user")
		opts = append(opts, natsgo.UserInfo(c.User, c.Password))
	}
	if c.Token != "" {
		ways = append(ways, "token")
		opts = append(opts, natsgo.Token(c.Token))
	}
	if c.Creds != "" {
		ways = append(ways, "creds")
		if _, err := os.Stat(c.Creds); err != nil {
			return nil, bad("creds", "cannot be read: %v", err)
		}
		opts = append(opts, natsgo.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		ways = append(ways, "nkey")
		o, err := natsgo.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, bad("nkey", "cannot be used: %v", err)
		}
		opts = append(opts, o)
	}
	if len(ways) > 1 {
		return nil, bad(ways[1], "is given beside %s; use one of them", ways[0])
	}
	if c.TLS.On {
		t, err := c.TLS.config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, natsgo.Secure(t))
		if c.TLS.First {
			opts = append(opts, natsgo.TLSHandshakeFirst())
		}
	} else if c.TLS != (TLS{}) {
		return nil, bad("tls", "has settings, but on is false; set on: true")
	}
	return opts, nil
}

func (t *TLS) config() (*tls.Config, error) {
	c, field, err := stream.TLSFiles{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.Name}.Config()
	if err != nil {
		return nil, bad("tls."+field, "%v", err)
	}
	return c, nil
}
