package source

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	"serval"
)

// address is a file on a web server, with the other parts of the model that it may be the first of.
type address struct {
	p *Puller
	u *url.URL
}

func (p *Puller) parseWeb(text string) (source, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, serval.Errorf(serval.InvalidArgument, "%q is no address: write https://host/path/to/file", text).At("source")
	}
	if base := path.Base(u.Path); strings.HasSuffix(u.Path, "/") || !safePath(base) {
		return nil, serval.Errorf(serval.InvalidArgument, "%q does not end in a file's name; name the model's file", plainURL(text)).At("source")
	}
	u.Fragment = ""
	return &address{p, u}, nil
}

func (a *address) name() string  { return path.Base(a.u.Path) }
func (a *address) settled() bool { return false }

func (a *address) resolve(ctx context.Context, _ string) (*plan, error) {
	paths, err := parts(a.u.Path)
	if err != nil {
		return nil, err
	}
	out := &plan{}
	for _, p := range paths {
		u := *a.u
		u.Path, u.RawPath = p, ""
		if p == a.u.Path {
			u.RawPath = a.u.RawPath
		}
		if strings.EqualFold(u.Scheme, "http") && u.Hostname() != "localhost" && !strings.HasPrefix(u.Hostname(), "127.") && len(out.notes) == 0 {
			out.notes = append(out.notes, "http is not encrypted: whoever is between can change the file; use https, or say what it must be with --sha256")
		}
		f, err := a.p.look(ctx, path.Base(p), &web{p: a.p, url: u.String()})
		if err != nil {
			return nil, err
		}
		out.files = append(out.files, f)
	}
	return out, nil
}

// look asks a server what a file is, without its content. A server that does not do HEAD is asked with a GET that is cut off.
func (p *Puller) look(ctx context.Context, name string, w *web) (file, error) {
	f := file{path: name, from: w}
	err := p.again(ctx, name, func() (bool, error) {
		s, err := w.do(ctx, http.MethodHead, 0, "")
		if err != nil && !errors.As(err, new(*attempt)) && ctx.Err() == nil {
			s, err = w.open(ctx, 0, "") // 403 and 405 are usual, also where the signature of an address is for GET
		}
		if err != nil {
			return false, err
		}
		defer s.Close()
		f.size, f.mark, f.sha256 = s.size, s.mark, s.sha256
		if s.page && !strings.HasSuffix(name, ".html") {
			return false, serval.Errorf(serval.InvalidArgument, "%s answers with a page for people (text/html), not with a model; name the file's own address", plainURL(w.url)).At("source")
		}
		return false, nil
	})
	return f, err
}
