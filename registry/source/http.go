package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"serval"
)

const (
	mostRedirects = 10
	headerAfter   = 60 * time.Second // how long an answer's header is waited for
	stallAfter    = 60 * time.Second // how long a body may be silent
	mostSaid      = 4 << 10          // bytes of an error's body that are looked at
)

// newClient makes the HTTP client of all sources. It follows redirects, but never from https to http, and hands credentials to
// the host that they are for only: a hub sends its visitors on to whoever stores the files.
func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 30 * time.Second,
			ResponseHeaderTimeout: headerAfter, MaxResponseHeaderBytes: 1 << 20, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
			DisableCompression: true, // ranges and digests are of the bytes as they are stored
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= mostRedirects {
				return errRedirects
			}
			first := via[0].URL
			if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return errDowngrade
			}
			if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
				for _, h := range []string{"Authorization", "X-Amz-Security-Token", "X-Amz-Date", "X-Amz-Content-Sha256", "Cookie"} {
					req.Header.Del(h)
				}
			}
			req.Header.Del("Referer")
			return nil
		},
	}
}

var (
	errRedirects = fmt.Errorf("it redirects more than %d times", mostRedirects)
	errDowngrade = errors.New("it redirects from https to http, which is not followed")
)

// attempt is an error of one attempt that another may mend.
type attempt struct {
	err   error
	after time.Duration // what the server asks to wait; 0 = not said
}

func (a *attempt) Error() string { return a.err.Error() }
func (a *attempt) Unwrap() error { return a.err }

// web opens a file on a server of HTTP.
type web struct {
	p       *Puller
	url     string
	prepare func(*http.Request) error             // adds what the server asks for: keys, signatures; may be nil
	refuse  func(status int, h http.Header) error // says what a status other than success means; nil or nil = the usual
	digest  func(h http.Header) (sha256 string)   // of the answer's header; may be nil
}

func (w *web) id() string { return w.url }

func (w *web) open(ctx context.Context, at int64, mark string) (*stream, error) {
	return w.do(ctx, http.MethodGet, at, mark)
}

// do sends one request. Its stream's body is watched: one that is silent for too long ends with an error.
func (w *web) do(ctx context.Context, method string, at int64, mark string) (*stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	fail := func(err error) (*stream, error) { cancel(nil); return nil, err }
	req, err := http.NewRequestWithContext(ctx, method, w.url, nil)
	if err != nil {
		return fail(err)
	}
	req.Header.Set("User-Agent", "serval")
	req.Header.Set("Accept-Encoding", "identity")
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
		if mark != "" {
			req.Header.Set("If-Range", mark)
		}
	}
	if w.prepare != nil {
		if err := w.prepare(req); err != nil {
			return fail(err)
		}
	}
	// The first answer of the hub holds what the last, of whoever stores the file, does not know.
	var digest string
	client := *w.p.client
	if w.digest != nil {
		follow := client.CheckRedirect
		client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
			if digest == "" && req.Response != nil {
				digest = w.digest(req.Response.Header)
			}
			return follow(req, via)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return fail(sendError(ctx, err))
	}
	if digest == "" && w.digest != nil {
		digest = w.digest(resp.Header)
	}
	s, err := w.read(resp, at)
	if err != nil {
		resp.Body.Close()
		return fail(err)
	}
	s.sha256 = digest
	s.ReadCloser = newWatched(resp.Body, w.p.stall, cancel, ctx)
	return s, nil
}

// read makes a stream of an answer, but for its body.
func (w *web) read(resp *http.Response, at int64) (*stream, error) {
	s := &stream{size: -1, mark: validator(resp.Header), page: strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")}
	switch resp.StatusCode {
	case http.StatusOK:
		s.size = resp.ContentLength
	case http.StatusPartialContent:
		from, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != at {
			return nil, &attempt{err: fmt.Errorf("it was asked for the bytes from %d on, and sends %q", at, resp.Header.Get("Content-Range"))}
		}
		s.at, s.size = from, size
	case http.StatusRequestedRangeNotSatisfiable:
		return nil, &attempt{err: errRange}
	default:
		return nil, w.status(resp)
	}
	return s, nil
}

// errRange says that there is nothing at the offset asked for: what was kept is of something else.
var errRange = errors.New("it has no bytes from there on")

// status is what an answer other than success means.
func (w *web) status(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, mostSaid)) // what cannot be read cannot be shown
	said := strings.Join(strings.Fields(plainText(string(body))), " ")
	if len(said) > 200 {
		said = said[:200] + "…"
	}
	if strings.Contains(resp.Header.Get("Content-Type"), "html") {
		said = ""
	}
	if w.refuse != nil {
		if err := w.refuse(resp.StatusCode, resp.Header); err != nil {
			return err
		}
	}
	where := plainURL(w.url)
	if said != "" {
		said = ": " + said
	}
	err := fmt.Errorf("%s answers %s%s", where, resp.Status, said)
	switch c := resp.StatusCode; {
	case c == http.StatusTooManyRequests, c == http.StatusRequestTimeout, c == http.StatusTooEarly, c >= 500 && c != http.StatusNotImplemented:
		return &attempt{err: err, after: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	case c == http.StatusNotFound, c == http.StatusGone:
		return serval.Errorf(serval.NotFound, "%w", err).At("source")
	case c == http.StatusUnauthorized, c == http.StatusForbidden:
		return serval.Errorf(serval.PermissionDenied, "%w", err).At("source")
	}
	return serval.Errorf(serval.Unavailable, "%w", err).At("source")
}

// sendError tells a fault of the way there, which may pass, from one that will not.
func sendError(ctx context.Context, err error) error {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errRedirects), errors.Is(err, errDowngrade), errors.As(err, &cert), errors.As(err, &dns) && dns.IsNotFound:
		return serval.Errorf(serval.Unavailable, "%w", hideQuery(err)).At("source")
	}
	return &attempt{err: hideQuery(err)}
}

// hideQuery takes the query off the address in an error: it may hold a signature.
func hideQuery(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return &url.Error{Op: u.Op, URL: plainURL(u.URL), Err: u.Err}
	}
	return err
}

// plainURL is an address without what may be secret in it.
func plainURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "the address"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// plainText drops what a terminal would take for a command.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
}

// validator is what tells one content of an address from the next in an If-Range: a strong ETag, or a date (RFC 9110, 13.1.5).
func validator(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	} else if tag != "" {
		return "" // a weak one does not promise equal bytes
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes 5-9/10"; the size is -1 where it says "*".
func contentRange(s string) (from, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, whole, ok2 := strings.Cut(s, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if err != nil || err2 != nil || from < 0 || to < from {
		return 0, 0, false
	}
	if whole == "*" {
		return from, -1, true
	}
	size, err = strconv.ParseInt(whole, 10, 64)
	return from, size, err == nil && size == to+1
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// watched is a body that ends with an error when it is silent for too long.
type watched struct {
	body   io.ReadCloser
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context
}

func newWatched(body io.ReadCloser, limit time.Duration, cancel context.CancelCauseFunc, ctx context.Context) *watched {
	silent := &attempt{err: fmt.Errorf("it sent nothing for %v", limit)}
	return &watched{body: body, limit: limit, cancel: cancel, ctx: ctx, timer: time.AfterFunc(limit, func() { cancel(silent) })}
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.limit)
	n, err := w.body.Read(p)
	w.timer.Stop() // the reader may take its time
	if err == nil || err == io.EOF {
		return n, err
	}
	if w.ctx.Err() != nil {
		return n, context.Cause(w.ctx)
	}
	return n, &attempt{err: err}
}

// Close frees the connection.
func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.body.Close()
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
