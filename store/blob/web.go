package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"serval"
	"serval/batch"
)

// web asks a server for the first byte of a file: how large it is, which version, and whether it can be read anywhere.
func (p *Places) web(ctx context.Context, location string) ([]batch.Object, error) {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "%q is no address: write https://host/path/to/file", plain(location)).At("input")
	}
	r := &remote{name: plain(location), size: -1}
	err = r.again(ctx, func() (bool, error) {
		a, err := p.get(ctx, r, location, "bytes=0-0")
		if err != nil {
			return false, err
		}
		defer a.Body.Close()
		r.version = version(a)
		switch a.StatusCode {
		case http.StatusPartialContent:
			r.ranges = true
			_, total, _ := strings.Cut(a.Header.Get("Content-Range"), "/")
			if n, err := strconv.ParseInt(total, 10, 64); err == nil && n >= 0 {
				r.size = n
			}
		case http.StatusRequestedRangeNotSatisfiable: // an empty file has no first byte
			r.size = 0
		default:
			r.size = a.ContentLength
			if a.Uncompressed {
				r.size = -1
			}
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	r.fetch = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		return p.fetch(ctx, r, location, off, n)
	}
	return []batch.Object{r}, nil
}

// version of what a server answers with; "": it does not say.
func version(a *http.Response) string {
	if e := a.Header.Get("ETag"); e != "" {
		return e
	}
	return a.Header.Get("Last-Modified")
}

// get asks for a range. The body must be closed.
func (p *Places) get(ctx context.Context, r *remote, location, ranged string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: %w", r.name, err).At("input")
	}
	req.Header.Set("Accept-Encoding", "identity")
	if ranged != "" {
		req.Header.Set("Range", ranged)
	}
	if r.version != "" && strings.HasPrefix(r.version, `"`) {
		req.Header.Set("If-Match", r.version)
	}
	a, err := p.opt.HTTP.Do(req)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) { // its text has the whole address, with what is secret in it
			err = e.Err
		}
		return nil, err
	}
	switch code := a.StatusCode; {
	case code == http.StatusOK, code == http.StatusPartialContent, code == http.StatusRequestedRangeNotSatisfiable && ranged == "bytes=0-0":
		if r.version != "" && version(a) != r.version {
			err = changed(r.name)
		}
	case code == http.StatusPreconditionFailed:
		err = changed(r.name)
	case code == http.StatusNotFound || code == http.StatusGone:
		err = serval.Errorf(serval.NotFound, "%s: there is no such file", r.name).At("input")
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		err = serval.Errorf(serval.PermissionDenied, "%s: the server refuses it (%s)", r.name, a.Status).At("input")
	case code == http.StatusTooManyRequests || code >= 500:
		err = fmt.Errorf("the server answers %s", a.Status)
	default:
		err = serval.Errorf(serval.InvalidArgument, "%s: the server answers %s", r.name, a.Status).At("input")
	}
	if err != nil {
		return nil, errors.Join(err, a.Body.Close())
	}
	return a, nil
}

// fetch reads n bytes from off on; -1: all that follow.
func (p *Places) fetch(ctx context.Context, r *remote, location string, off, n int64) (io.ReadCloser, error) {
	ranged := ""
	switch {
	case n >= 0:
		ranged = fmt.Sprintf("bytes=%d-%d", off, off+n-1)
	case off > 0:
		ranged = fmt.Sprintf("bytes=%d-", off)
	}
	a, err := p.get(ctx, r, location, ranged)
	if err != nil {
		return nil, err
	}
	if off > 0 && a.StatusCode != http.StatusPartialContent {
		_ = a.Body.Close() // nothing of it is wanted
		return nil, serval.Errorf(serval.Unavailable, "%s: its server no longer sends parts of it; download it first", r.name).At("input")
	}
	if at, _, ok := strings.Cut(strings.TrimPrefix(a.Header.Get("Content-Range"), "bytes "), "-"); a.StatusCode == http.StatusPartialContent && (!ok || at != strconv.FormatInt(off, 10)) {
		_ = a.Body.Close() // nothing of it is wanted
		return nil, serval.Errorf(serval.Unavailable, "%s: its server sends another part than it is asked for", r.name).At("input")
	}
	return a.Body, nil
}
