package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"serval"
)

// Options say how a Sender sends. Zero numbers mean their defaults.
type Options struct {
	// Secrets sign: "whsec_…". None: nothing is signed. More than one: each makes a signature, while receivers change over.
	Secrets []string
	// Private allows hosts whose addresses are of this machine or of a private network. Leave it off where callers name URLs.
	Private bool
	// Header is sent with every message; ContentType, where it has none, is application/json.
	Header http.Header

	Attempts int           // of one Send; 5
	Timeout  time.Duration // of one attempt; 15 s
	Min, Max time.Duration // wait before the second attempt, doubled for each further one, and the longest Retry-After; 500 ms and 1 min
	Conns    int           // connections to one host; 16
}

const (
	bodyShown  = 300      // bytes of an answer that an error shows
	bodyRead   = 64 << 10 // bytes of an answer that are read, so that the connection can be used again
	headerRead = 64 << 10
)

// Sender sends. It is safe for concurrent use.
type Sender struct {
	opt  Options
	keys []Key
	http *http.Client
}

// New makes a Sender. Its error is InvalidArgument: a secret that is none.
func New(o Options) (*Sender, error) {
	s := &Sender{opt: o}
	for _, secret := range o.Secrets {
		k, err := ParseKey(secret)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, k)
	}
	if s.opt.Attempts <= 0 {
		s.opt.Attempts = 5
	}
	duration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	duration(&s.opt.Timeout, 15*time.Second)
	duration(&s.opt.Min, 500*time.Millisecond)
	duration(&s.opt.Max, time.Minute)
	if s.opt.Conns <= 0 {
		s.opt.Conns = 16
	}
	dialer := &net.Dialer{Timeout: s.opt.Timeout, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		MaxConnsPerHost: s.opt.Conns, MaxIdleConnsPerHost: s.opt.Conns, MaxIdleConns: 4 * s.opt.Conns, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: headerRead, TLSHandshakeTimeout: s.opt.Timeout, ForceAttemptHTTP2: true,
	}
	if o.Private {
		t.Proxy = http.ProxyFromEnvironment
	} else {
		// The address is looked at when it is dialled, after the name was looked up, so that no name can lead elsewhere. A proxy
		// would look names up by itself, so there is none.
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return public(address) }
	}
	t.DialContext = dialer.DialContext
	s.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, nil
}

// Close closes idle connections.
func (s *Sender) Close() { s.http.CloseIdleConnections() }

// Failure is why a message was not taken.
type Failure struct {
	Status    int           // of the answer; 0: there was none
	Permanent bool          // it fails whenever it is sent again
	After     time.Duration // when the receiver wants it again; 0: not said
	message   string
	cause     error
}

func (f *Failure) Error() string { return f.message }

// Unwrap is what went wrong with the connection.
func (f *Failure) Unwrap() error { return f.cause }

// errPrivate is why an address is not dialled.
var errPrivate = errors.New("it has an address of this machine or of a private network, to which webhooks are not sent")

// CheckURL says what is wrong with an address, before anything is sent: an InvalidArgument.
func (s *Sender) CheckURL(to string) error {
	u, err := url.Parse(to)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return serval.Errorf(serval.InvalidArgument, "the webhook's address must be an http or https URL such as https://host/path")
	case u.User != nil:
		return serval.Errorf(serval.InvalidArgument, "the webhook's address must hold no user and password; use a header")
	case u.Fragment != "":
		return serval.Errorf(serval.InvalidArgument, "the webhook's address must have no fragment (#…)")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !s.opt.Private && !reachable(ip) {
		return serval.Errorf(serval.InvalidArgument, "the webhook's address %s cannot be used: %w", u.Host, errPrivate)
	}
	return nil
}

// Send posts body until the receiver takes it, at most Options.Attempts times. id is the message's for ever: the same for each
// attempt and whenever it is sent again. Its error is a *Failure, ctx's, or InvalidArgument.
func (s *Sender) Send(ctx context.Context, to, id string, body []byte) error {
	if err := s.CheckURL(to); err != nil {
		return err
	}
	wait := s.opt.Min
	for n := 1; ; n++ {
		err := s.Once(ctx, to, id, body, nil)
		var f *Failure
		if err == nil || !errors.As(err, &f) || f.Permanent || n >= s.opt.Attempts {
			return err
		}
		// A little more than asked for, so that many do not come back at once.
		d := min(max(wait, f.After), s.opt.Max)
		d += time.Duration(rand.Int64N(int64(d)/5 + 1))
		wait = min(2*wait, s.opt.Max)
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// Once is one attempt. header is sent beside Options.Header, and wins. The errors are Send's.
func (s *Sender) Once(ctx context.Context, to, id string, body []byte, header http.Header) error {
	at, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(at, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return serval.Errorf(serval.InvalidArgument, "the webhook's address is no URL")
	}
	for _, h := range []http.Header{s.opt.Header, header} {
		for k, v := range h {
			req.Header[http.CanonicalHeaderKey(k)] = v
		}
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "serval")
	}
	if err := s.sign(req, id, body); err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return unanswered(ctx, err, req.URL.Host, s.opt.Timeout)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, bodyRead))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	return answered(resp, text)
}

func (s *Sender) sign(req *http.Request, id string, body []byte) error {
	now := time.Now()
	if len(s.keys) == 0 {
		req.Header.Set(HeaderID, id)
		req.Header.Set(HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
		return nil
	}
	h, err := Sign(id, now, body, s.keys...)
	for k, v := range h {
		req.Header[k] = v
	}
	return err
}

// unanswered is the failure of an attempt that has no answer.
func unanswered(ctx context.Context, err error, host string, limit time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) { // its text has the whole URL, which may hold a secret
		err = u.Err
	}
	f := &Failure{cause: err, Permanent: errors.Is(err, errPrivate)}
	if errors.Is(err, context.DeadlineExceeded) {
		f.message = fmt.Sprintf("%s did not answer within %v", host, limit)
	} else {
		f.message = fmt.Sprintf("%s cannot be reached: %v", host, err)
	}
	return f
}

// answered is the failure that an answer tells.
func answered(resp *http.Response, text []byte) error {
	code := resp.StatusCode
	f := &Failure{Status: code}
	f.message = fmt.Sprintf("%s answered %d", resp.Request.URL.Host, code)
	switch {
	case code >= 300 && code < 400:
		f.Permanent = true
		f.message += fmt.Sprintf(" and points to %.200q; redirects are not followed, so name that address instead", resp.Header.Get("Location"))
		return f
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500:
		f.After = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	default:
		f.Permanent = true
	}
	if shown := printable(text); shown != "" {
		f.message += ": " + shown
	}
	return f
}

// printable is the beginning of an answer's text, on one line.
func printable(text []byte) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(text[:min(len(text), bodyShown)]), ""))
	return strings.TrimSpace(s)
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
		return time.Duration(min(max(n, 0), 24*3600)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), 24*time.Hour)
	}
	return 0
}

// public says whether an address that is about to be dialled may be.
func public(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !reachable(ip) {
		return errPrivate
	}
	return nil
}

// reachable says whether an address is of the open Internet.
func reachable(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range notOpen() {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// notOpen are ranges that IsGlobalUnicast does not know of: "this network", shared by carriers, for protocols, examples,
// benchmarks, reserved; and addresses of IPv6 that stand for others of IPv4.
func notOpen() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
	}
}
