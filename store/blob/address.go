package blob

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"serval"
)

// bucketID is what a bucket is opened by, once.
type bucketID struct {
	scheme, name              string
	endpoint, region, account string
	anonymous                 bool
}

// address is a location in a bucket.
type address struct {
	bucketID
	key     string
	pattern bool
}

func (a *address) name(key string) string { return a.scheme + "://" + a.bucketID.name + "/" + key }

// settings are what may follow a location in a bucket, behind a question mark.
var settings = map[string][]string{
	"s3":     {"endpoint", "region", "anonymous"},
	"gs":     {"endpoint", "anonymous"},
	"azblob": {"account", "endpoint", "anonymous"},
}

// Settings are those that a location in a bucket brings, as in s3://bucket/key?endpoint=…&region=…; at is where they begin, with the
// question mark, and -1 where there are none. A question mark in a pattern is one, unless such a name follows it.
func Settings(location string) (set url.Values, at int) {
	known := settings[scheme(location)]
	if at = strings.LastIndexByte(location, '?'); at < 0 {
		return nil, -1
	}
	q, err := url.ParseQuery(location[at+1:])
	if err != nil || !slices.ContainsFunc(known, q.Has) {
		return nil, -1
	}
	return q, at
}

// parse takes s3://bucket/key?endpoint=…&region=…&anonymous=true and its like apart.
func parse(location, param string) (*address, error) {
	a := &address{bucketID: bucketID{scheme: scheme(location)}}
	rest := location[len(a.scheme+"://"):]
	known := settings[a.scheme]
	if q, at := Settings(location); at >= 0 {
		for name := range q {
			if !slices.Contains(known, name) {
				return nil, serval.Errorf(serval.InvalidArgument, "%s: no setting %q; there are %s", plain(location), name, strings.Join(known, ", ")).At(param)
			}
		}
		a.endpoint, a.region, a.account, a.anonymous = q.Get("endpoint"), q.Get("region"), q.Get("account"), q.Get("anonymous") == "true"
		rest = location[len(a.scheme+"://"):at]
	}
	if u, err := url.Parse(a.endpoint); a.endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: the endpoint %q must be like https://host", plain(location), plain(a.endpoint)).At("endpoint")
	}
	a.bucketID.name, a.key, _ = strings.Cut(rest, "/")
	if a.bucketID.name == "" || strings.ContainsAny(a.bucketID.name, "*?[@:#%\\") || strings.ContainsAny(a.key, "\x00\r\n") {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: write %s://%s/path/to/object, where a * in the path stands for many", plain(location), a.scheme, word(a.scheme)).At(param)
	}
	if a.pattern = strings.ContainsAny(a.key, "*?["); a.pattern {
		if _, err := path.Match(a.key, ""); err != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "%s: the pattern has a [ without its ]", plain(location)).At(param)
		}
	}
	return a, nil
}

// word is what a cloud calls a bucket.
func word(scheme string) string {
	if scheme == "azblob" {
		return "container"
	}
	return "bucket"
}
