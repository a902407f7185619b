package format

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"serval"
	"serval/stream"
)

// Registry says how a schema registry is reached: Confluent's, or another one that speaks its API (Apicurio below
// /apis/ccompat/v7, Karapace, Redpanda).
type Registry struct {
	URLs     []string      `yaml:"urls" doc:"the registry's addresses; the next one is asked where one cannot be reached"`
	Username string        `yaml:"username" doc:"the user, for basic authentication"`
	Password string        `yaml:"password" doc:"its password; write ${NAME} to take it from the environment"`
	Token    string        `yaml:"token" doc:"a bearer token, instead of a user"`
	CA       string        `yaml:"ca" doc:"PEM file of those who may have signed the registry's certificate; default: the system's"`
	Cert     string        `yaml:"cert" doc:"PEM file of this client's own certificate, where the registry asks for one"`
	Key      string        `yaml:"key" doc:"PEM file of its private key"`
	Context  string        `yaml:"context" doc:"the schema context, where the registry has several; default: its own"`
	Timeout  time.Duration `yaml:"timeout" doc:"how long one question may take"`
	Cache    int           `yaml:"cache" doc:"most schemas that are kept" min:"1" max:"100000"`
}

func defaultRegistry() Registry { return Registry{Timeout: 5 * time.Second, Cache: 1000} }

// Limits of what a registry may answer.
const (
	maxSchema     = 4 << 20 // bytes of one answer
	maxReferences = 256     // schemas that one refers to, over all levels
	again         = time.Second
	unknown       = 30 * time.Second // an id that is not known is not asked for again for so long
)

// registry asks a schema registry. Safe for concurrent use.
type registry struct {
	client  *sr.Client
	say     string // its address, for people
	timeout time.Duration
}

func newRegistry(o *Registry) (*registry, error) {
	if len(o.URLs) == 0 {
		return nil, wrong("registry", "registry: urls is missing; write the schema registry's address, such as http://registry:8081")
	}
	for _, text := range o.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, wrong("registry", "registry: urls has %s; write http:// or https://, a host and a port", quoted(text))
		}
		if u.User != nil {
			return nil, wrong("registry", "registry: urls has a user within; write username and password")
		}
	}
	if o.Token != "" && o.Username != "" {
		return nil, wrong("registry", "registry: token and username are two ways to say who asks; remove one of them")
	}
	if o.Timeout <= 0 {
		return nil, wrong("registry", "registry: timeout must be more than 0, is %s", o.Timeout)
	}
	certs, err := o.tls()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = certs
	opts := []sr.ClientOpt{
		sr.URLs(o.URLs...), sr.UserAgent("serval"), sr.HTTPClient(&http.Client{Timeout: o.Timeout, Transport: bounded{transport}}),
	}
	switch {
	case o.Token != "":
		opts = append(opts, sr.BearerToken(o.Token))
	case o.Username != "":
		opts = append(opts, sr.BasicAuth(o.Username, o.Password))
	}
	if o.Context != "" {
		opts = append(opts, sr.DefaultSchemaContext(o.Context))
	}
	client, err := sr.NewClient(opts...)
	if err != nil {
		return nil, wrong("registry", "registry: %v", err)
	}
	return &registry{client, o.URLs[0], o.Timeout}, nil
}

func (o *Registry) tls() (*tls.Config, error) {
	c, field, err := stream.TLSFiles{CA: o.CA, Cert: o.Cert, Key: o.Key}.Config()
	if err != nil {
		return nil, wrong("registry", "registry: %s %v", field, err)
	}
	return c, nil
}

// bounded keeps answers small: the client reads them whole.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &limited{io.LimitedReader{R: res.Body, N: maxSchema}, res.Body}
	}
	return res, err
}

type limited struct {
	io.LimitedReader
	body io.Closer
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.LimitedReader.Read(p)
	if l.N <= 0 {
		return n, fmt.Errorf("the answer has more than %d bytes", maxSchema)
	}
	return n, err
}

func (l *limited) Close() error { return l.body.Close() }

// source is a schema as the registry has it, with those that it refers to, each after those that it refers to itself.
type source struct {
	kind sr.SchemaType
	text string
	refs []reference
}

type reference struct{ name, text string }

// kindOf says a schema's kind as the registry's API does.
func kindOf(t sr.SchemaType) string { return strings.ToUpper(t.String()) }

// fetch asks for a schema by its id, and for those that it refers to.
func (r *registry) fetch(id uint32) (*source, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	s, err := r.client.SchemaByID(ctx, int(id))
	if err != nil {
		return nil, r.failed(err, fmt.Sprintf("schema %d", id))
	}
	out := &source{kind: s.Type, text: s.Schema}
	seen, size := map[string]bool{}, len(s.Schema)
	var follow func([]sr.SchemaReference) error
	follow = func(list []sr.SchemaReference) error {
		for _, ref := range list {
			if seen[ref.Name] {
				continue
			}
			seen[ref.Name] = true
			what := fmt.Sprintf("schema '%s' version %d, to which schema %d refers", ref.Subject, ref.Version, id)
			one, err := r.client.SchemaByVersion(ctx, ref.Subject, ref.Version)
			if err != nil {
				return r.failed(err, what)
			}
			if size += len(one.Schema.Schema); len(seen) > maxReferences || size > maxSchema {
				return wrong("", "schema %d refers to more than %d schemas or %d bytes of them", id, maxReferences, maxSchema)
			}
			if err := follow(one.References); err != nil {
				return err
			}
			out.refs = append(out.refs, reference{ref.Name, one.Schema.Schema})
		}
		return nil
	}
	return out, follow(s.References)
}

// enrol is the id of a schema of results: registered, or with register off looked up.
func (r *registry) enrol(subject string, register bool, s sr.Schema) (uint32, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	if register {
		id, err := r.client.RegisterSchema(ctx, subject, s, -1, -1)
		if err != nil {
			e := r.failed(err, "to register the results' schema as '"+subject+"'")
			if e.Code == serval.InvalidArgument { // it is no message's fault
				e.Code = serval.Conflict
			}
			return 0, e
		}
		return uint32(id), nil
	}
	found, err := r.client.LookupSchema(ctx, subject, s)
	if err == nil {
		return uint32(found.ID), nil
	}
	e := r.failed(err, "the results' schema as '"+subject+"'")
	if e.Code == serval.InvalidArgument {
		return 0, misfit("subject '%s' of the schema registry does not have the results' schema; register it, or set register: true. It is: %s", subject, s.Schema)
	}
	return 0, e
}

// failed classes what the registry said: what it does not know is the message's fault, all else is not.
func (r *registry) failed(err error, what string) *serval.Error {
	var said *sr.ResponseError
	if !errors.As(err, &said) {
		return serval.Errorf(serval.Unavailable, "the schema registry at %s cannot be asked for %s: %w", r.say, what, err).After(again)
	}
	reason := said.Message
	if reason == "" {
		reason = http.StatusText(said.StatusCode)
	}
	switch said.StatusCode {
	case http.StatusNotFound:
		return serval.Errorf(serval.InvalidArgument, "the schema registry at %s does not know %s: %s", r.say, what, reason)
	case http.StatusUnauthorized, http.StatusForbidden:
		return serval.Errorf(serval.PermissionDenied, "the schema registry at %s refuses %s to this user (status %d: %s); see username and token of the format's registry", r.say, what, said.StatusCode, reason)
	case http.StatusConflict, http.StatusUnprocessableEntity, http.StatusBadRequest:
		return serval.Errorf(serval.Conflict, "the schema registry at %s refuses %s (status %d): %s", r.say, what, said.StatusCode, reason)
	}
	return serval.Errorf(serval.Unavailable, "the schema registry at %s failed to give %s (status %d): %s", r.say, what, said.StatusCode, reason).After(again)
}
