package server

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"serval"
	"serval/batch"
	"serval/batch/postgres"
	"serval/config"
	"serval/store/blob"
)

// places is what jobs may reach, by the rules of batch.files and batch.places. It is safe for concurrent use.
type places struct {
	rules []rule
	local bool // some rule is of folders, so that no other folder may be used
	web   webClient
}

// rule is a config.Place.
type rule struct {
	config.Place
	kind  string       // "", s3, gs, azblob, http, https, postgres
	rest  string       // of At, behind ://
	blobs *blob.Places // of a bucket
}

func newPlaces(c *config.Batch) *places {
	p := &places{local: len(c.Files) > 0}
	for _, folder := range c.Files {
		p.rules = append(p.rules, rule{Place: config.Place{At: folder, Write: true}, rest: folder})
	}
	for _, place := range c.Places {
		r := rule{Place: place, rest: place.At}
		if kind, rest, ok := strings.Cut(place.At, "://"); ok {
			r.kind, r.rest = kind, rest
		}
		switch r.kind {
		case "":
			p.local = true
		case "s3", "gs", "azblob":
			r.blobs = blob.New(blob.Options{
				S3: blob.S3{Endpoint: place.Endpoint, Region: place.Region, AccessKey: place.AccessKey, SecretKey: place.SecretKey,
					SessionToken: place.SessionToken, Anonymous: place.Anonymous},
				GCS:   blob.GCS{Endpoint: place.Endpoint, Credentials: place.Credentials, Anonymous: place.Anonymous},
				Azure: blob.Azure{Endpoint: place.Endpoint, Account: place.Account, Key: place.AccountKey, SAS: place.SAS, Anonymous: place.Anonymous},
			})
		}
		p.rules = append(p.rules, r)
	}
	p.web.dial()
	return p
}

// close lets go of the stores. No job reads any more.
func (p *places) close() error {
	var err error
	for i := range p.rules {
		if s := p.rules[i].blobs; s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	p.web.close()
	return err
}

// shelf is where batch.dir lies, if that is in a bucket: with the keys of the place that it is in, else the environment's.
func (p *places) shelf(dir string) (batch.Store, string) {
	kind, rest, _ := strings.Cut(dir, "://")
	for i := range p.rules {
		if r := &p.rules[i]; r.blobs != nil && r.kind == kind && below(rest, r.rest) {
			return r.blobs, dir
		}
	}
	p.rules = append(p.rules, rule{Place: config.Place{Tenants: []string{""}}, kind: "none", blobs: blob.New(blob.Options{})})
	return p.rules[len(p.rules)-1].blobs, dir
}

// of is what one tenant's jobs may reach.
func (p *places) of(tenant string) batch.Locator { return &reach{p, tenant} }

// reach is a batch.Locator for one tenant.
type reach struct {
	*places
	tenant string
}

var (
	_ batch.Store = (*reach)(nil)
	_ batch.Guard = (*reach)(nil)
)

// Locate lists the objects at a location that may be read.
func (r *reach) Locate(ctx context.Context, location string) ([]batch.Object, error) {
	in, err := r.rule(location, false)
	if err != nil {
		return nil, err
	}
	switch in.kind {
	case "s3", "gs", "azblob":
		found, err := in.blobs.Locate(ctx, location)
		if err != nil || !r.within(in, location) {
			return found, err
		}
		for i := 0; err == nil && i < len(found); i++ {
			_, err = r.rule(found[i].Name(), false)
		}
		return found, err
	case "http", "https":
		return blob.New(blob.Options{HTTP: &http.Client{Transport: r, CheckRedirect: fewHops}}).Locate(ctx, location)
	case "postgres":
		if location, err = in.database(location, "input"); err != nil {
			return nil, err
		}
		return postgres.Places{Fixed: true}.Locate(ctx, location)
	}
	found, err := batch.Files{}.Locate(ctx, location)
	for i := 0; err == nil && i < len(found); i++ {
		_, err = r.rule(found[i].Name(), false) // links lead anywhere
	}
	return found, err
}

// Find is the object of a name that Locate gave.
func (r *reach) Find(ctx context.Context, name string) (batch.Object, error) {
	if batch.InBucket(name) {
		in, err := r.rule(name, false)
		if err != nil {
			return nil, err
		}
		return in.blobs.Find(ctx, name)
	}
	list, err := r.Locate(ctx, name)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Target is a location that may be written.
func (r *reach) Target(ctx context.Context, location string) (batch.Target, error) {
	in, err := r.rule(location, true)
	if err != nil {
		return nil, err
	}
	switch in.kind {
	case "s3", "gs", "azblob":
		return in.blobs.Target(ctx, location)
	case "postgres":
		if location, err = in.database(location, "output"); err != nil {
			return nil, err
		}
		return postgres.Places{Fixed: true}.Target(ctx, location)
	}
	return batch.Files{}.Target(ctx, location)
}

// May says whether a location may be used so.
func (r *reach) May(location string, write bool) error {
	_, err := r.rule(location, write)
	return err
}

// rule finds what lets the tenant read or write at a location.
func (r *reach) rule(location string, write bool) (*rule, error) {
	param := "input"
	if write {
		param = "output"
	}
	kind, rest, remote := strings.Cut(location, "://")
	var fits func(*rule) bool
	switch kind = strings.ToLower(kind); {
	case !remote:
		if !filepath.IsAbs(location) {
			return nil, serval.Errorf(serval.InvalidArgument, "%s: a server's job needs an absolute path, or a place of batch.places", location).At(param)
		}
		if slices.Contains(strings.Split(location, "/"), "..") { // behind a link it leads elsewhere than it reads
			return nil, serval.Errorf(serval.InvalidArgument, "%s: write the path without ..", location).At(param)
		}
		if !r.local {
			return &rule{}, nil
		}
		kind = ""
		real := follow(location)
		fits = func(in *rule) bool { return real != "" && below(real, follow(in.rest)) }
	case batch.InBucket(location):
		key, err := bucketKey(location, param)
		if err != nil {
			return nil, err
		}
		fits = func(in *rule) bool { return below(key, in.rest) }
	case kind == "http" || kind == "https":
		u, err := webAddress(location, param)
		if err != nil {
			return nil, err
		}
		fits = func(in *rule) bool { return in.covers(u) }
	case kind == "postgres" || kind == "postgresql":
		kind = "postgres"
		name, _, _ := strings.Cut(rest, "?")
		fits = func(in *rule) bool { return strings.TrimSuffix(name, "/") == in.rest }
		if strings.ContainsAny(name, "@:") {
			return nil, serval.Errorf(serval.InvalidArgument, "a server's job names a database by its name in batch.places, as in postgres://warehouse?table=rows; its address and password stay with the server").At(param)
		}
	default:
		return nil, serval.Errorf(serval.InvalidArgument, "%s:// is no place that jobs read or write; there are paths, s3://, gs://, azblob://, https:// and postgres://", kind).At(param)
	}
	// The rule that says most of the place decides: one of a folder within another's is there to allow more, or less. Of several for the
	// same place, what any of them allows is allowed.
	var best *rule
	most := -1
	for i := range r.rules {
		in := &r.rules[i]
		if in.kind != kind || !fits(in) {
			continue
		}
		may := r.theirs(in) && (in.Write || !write)
		switch n := in.length(); {
		case n > most:
			if most, best = n, nil; may {
				best = in
			}
		case n == most && best == nil && may:
			best = in
		}
	}
	if best != nil {
		return best, nil
	}
	return nil, r.refuse(kind, location, param, write)
}

// length tells how much of a place a rule says. A web server that is named says more than any path on all.
func (r *rule) length() int {
	rest := r.rest
	if r.kind == "" {
		if real := follow(rest); real != "" {
			rest = real
		}
	}
	n := len(strings.TrimSuffix(rest, "/"))
	if host, _, _ := strings.Cut(r.rest, "/"); (r.kind == "http" || r.kind == "https") && host != "*" {
		n += 1 << 16
	}
	return n
}

// within says whether another rule is of a part of what a pattern finds.
func (r *reach) within(in *rule, location string) bool {
	key, err := bucketKey(location, "input")
	return err != nil || slices.ContainsFunc(r.rules, func(o rule) bool {
		return o.kind == in.kind && o.rest != in.rest && strings.HasPrefix(o.rest, key)
	})
}

func (r *reach) theirs(in *rule) bool {
	return len(in.Tenants) == 0 || slices.Contains(in.Tenants, r.tenant)
}

// refuse says what the tenant's jobs may use instead.
func (r *reach) refuse(kind, location, param string, write bool) error {
	var may []string
	for i := range r.rules {
		if in := &r.rules[i]; in.kind == kind && r.theirs(in) && (in.Write || !write) {
			may = append(may, in.At)
		}
	}
	what := "read"
	if write {
		what = "written"
	}
	hint := "none of that kind"
	if len(may) > 0 {
		hint = strings.Join(may, ", ")
	}
	location, _, _ = strings.Cut(location, "?")
	key := "batch.places"
	if kind == "" {
		key = "batch.files, batch.places"
	}
	return serval.Errorf(serval.PermissionDenied, "%s may not be %s by jobs of '%s'; the server's configuration lets them use (%s): %s", location, what, r.tenant, key, hint).At(param)
}

// below says whether a path or key is at a prefix or below it.
func below(name, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return prefix != "" && (name == prefix || strings.HasPrefix(name, prefix+"/")) || prefix == "" && strings.HasPrefix(name, "/")
}

// follow is a path without links, also one whose end is not there yet; "": it cannot be told.
func follow(path string) string {
	real, err := filepath.EvalSymlinks(path)
	for dir := filepath.Clean(path); errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir; {
		dir = filepath.Dir(dir)
		if real, err = filepath.EvalSymlinks(dir); err == nil {
			real = filepath.Join(real, strings.TrimPrefix(filepath.Clean(path), dir))
		}
	}
	if err != nil {
		return ""
	}
	return real
}

// bucketKey is bucket/key of a location, up to where a pattern begins. Endpoints and keys come from the configuration: else a job
// could send the server anywhere.
func bucketKey(location, param string) (string, error) {
	if _, at := blob.Settings(location); at >= 0 {
		return "", serval.Errorf(serval.InvalidArgument, "%s: a server's job gives no endpoint, region, account or anonymous; batch.places of its configuration does", location[:at]).At(param)
	}
	_, rest, _ := strings.Cut(location, "://")
	for part := range strings.SplitSeq(rest, "/") {
		if part == ".." || part == "." {
			return "", serval.Errorf(serval.InvalidArgument, "%s: a key with . or .. in it is not taken", location).At(param)
		}
	}
	if at := strings.IndexAny(rest, `*?[\`); at >= 0 {
		rest = rest[:strings.LastIndexByte(rest[:at], '/')+1]
	}
	return rest, nil
}

// database is the location with what only the server knows of it.
func (r *rule) database(location, param string) (string, error) {
	u, err := url.Parse(location)
	if err != nil {
		return "", serval.Errorf(serval.InvalidArgument, "write postgres://%s?table=name, with & for what follows", r.rest).At(param)
	}
	q := u.Query()
	for name := range q {
		if name != "table" && name != "query" && name != "key" {
			return "", serval.Errorf(serval.InvalidArgument, "postgres://%s: a job names table, key and query; %q is the server's to set (batch.places)", r.rest, name).At(param)
		}
	}
	if q.Get("query") != "" && !r.Queries {
		return "", serval.Errorf(serval.PermissionDenied, "postgres://%s: queries are not allowed here; name a table (batch.places: queries)", r.rest).At(param)
	}
	if table := q.Get("table"); table != "" && len(r.Tables) > 0 && !slices.ContainsFunc(r.Tables, func(pattern string) bool {
		ok, err := path.Match(pattern, table)
		return ok && err == nil
	}) {
		return "", serval.Errorf(serval.PermissionDenied, "postgres://%s: the table '%s' is not one of %s", r.rest, table, strings.Join(r.Tables, ", ")).At(param)
	}
	full, err := url.Parse(r.URL)
	if err != nil {
		return "", serval.Errorf(serval.InvalidArgument, "postgres://%s: its url in batch.places cannot be read", r.rest).At(param)
	}
	settings := full.Query()
	for name := range q {
		settings.Set(name, q.Get(name))
	}
	full.RawQuery = settings.Encode()
	return full.String(), nil
}
