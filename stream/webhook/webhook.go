package webhook

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"serval"
	"serval/internal/webhook"
	"serval/stream"
)

// Broker is the plug-in. It is safe for concurrent use.
type Broker struct{}

var _ stream.Broker = Broker{}

// New makes it.
func New() Broker { return Broker{} }

// Name is "webhook".
func (Broker) Name() string { return "webhook" }

// SourceOptions are none.
func (Broker) SourceOptions() any { return nil }

// TargetOptions are the defaults of what is sent.
func (Broker) TargetOptions() any { return defaults() }

// TargetOptions say where messages are sent, and how.
type TargetOptions struct {
	URL         string            `yaml:"url" doc:"where messages are posted, one a request"`
	Secret      string            `yaml:"secret" doc:"what requests are signed with: whsec_ and base64; write ${NAME} to take it from the environment; default: nothing is signed"`
	OldSecret   string            `yaml:"old_secret" doc:"while receivers change over: a second signature is made with it"`
	Headers     map[string]string `yaml:"headers" doc:"sent with each request, such as Authorization"`
	ContentType string            `yaml:"content_type" doc:"of the bodies"`
	Timeout     time.Duration     `yaml:"timeout" doc:"of one request"`
	Concurrency int               `yaml:"concurrency" doc:"most requests at the same time; those of one key are sent one after the other" min:"1" max:"1024"`
	RetryAfter  time.Duration     `yaml:"max_retry_after" doc:"longest time that the receiver's Retry-After is heeded"`
	GiveUp      int               `yaml:"give_up" doc:"answers of 5xx to one message after which it is a dead letter; 0: it is sent until it is taken, and the stream waits" min:"0"`
	PublicOnly  bool              `yaml:"public_only" doc:"refuse hosts whose addresses are of this machine or a private network, whatever their names"`
}

func defaults() *TargetOptions {
	return &TargetOptions{ContentType: "application/json", Timeout: 15 * time.Second, Concurrency: 16, RetryAfter: 5 * time.Minute}
}

func bad(field, format string, args ...any) error {
	return serval.Errorf(serval.InvalidArgument, "webhook: "+field+" "+format, args...).At(field)
}

// Check implements stream.Broker.
func (Broker) Check(options any) error {
	o, ok := options.(*TargetOptions)
	if !ok {
		return wrong(options)
	}
	if o.URL == "" {
		return bad("url", "is missing; name where messages are posted")
	}
	for field, secret := range map[string]string{"secret": o.Secret, "old_secret": o.OldSecret} {
		if secret == "" {
			continue
		}
		if _, err := webhook.ParseKey(secret); err != nil {
			return bad(field, "is no secret: %v", err)
		}
	}
	switch {
	case o.Secret == "" && o.OldSecret != "":
		return bad("old_secret", "stands without secret, which is the new one")
	case o.Timeout <= 0:
		return bad("timeout", "is %v; it must be above 0", o.Timeout)
	case o.RetryAfter < 0:
		return bad("max_retry_after", "is %v; it must not be below 0", o.RetryAfter)
	}
	for name, value := range o.Headers {
		switch canonical := http.CanonicalHeaderKey(name); {
		case name == "" || strings.ContainsAny(name, " \t\r\n:") || strings.ContainsAny(value, "\r\n"):
			return bad("headers", "has %q, which cannot be sent", name)
		case canonical == "Host" || canonical == "Content-Length" || canonical == "Transfer-Encoding" || canonical == "Connection" || strings.HasPrefix(canonical, "Webhook-"):
			return bad("headers", "has %q, which is set for each request", name)
		}
	}
	s, err := o.sender()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.CheckURL(o.URL); err != nil {
		return bad("url", "is wrong: %v", err)
	}
	return nil
}

func (o *TargetOptions) sender() (*webhook.Sender, error) {
	opt := webhook.Options{Private: !o.PublicOnly, Header: http.Header{}, Timeout: o.Timeout, Conns: o.Concurrency}
	for name, value := range o.Headers {
		opt.Header.Set(name, value)
	}
	opt.Header.Set("Content-Type", o.ContentType)
	for _, secret := range []string{o.Secret, o.OldSecret} {
		if secret != "" {
			opt.Secrets = append(opt.Secrets, secret)
		}
	}
	return webhook.New(opt)
}

// Say names a place by its host alone: of an address, any part behind that may be what lets one in.
func (Broker) Say(options any) string {
	if o, ok := options.(*TargetOptions); ok {
		if u, err := url.Parse(o.URL); err == nil {
			return "webhook " + u.Scheme + "://" + u.Host
		}
	}
	return "webhook"
}

// Source implements stream.Broker: there is none.
func (Broker) Source(context.Context, any, stream.Env) (stream.Source, error) {
	return nil, serval.Errorf(serval.Unimplemented, "a webhook is a target only")
}

// Target posts to the URL.
func (b Broker) Target(_ context.Context, options any, env stream.Env) (stream.Target, error) {
	if err := b.Check(options); err != nil {
		return nil, err
	}
	o := options.(*TargetOptions)
	s, err := o.sender()
	if err != nil {
		return nil, err
	}
	return &target{opt: o, sender: s, stream: env.Stream, refused: map[string]int{}}, nil
}

func wrong(options any) error {
	return fmt.Errorf("webhook: %T are not its options (this is a bug)", options)
}
