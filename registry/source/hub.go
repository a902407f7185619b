package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"serval"
)

// DefaultHub is the model hub that hf: names.
const DefaultHub = "https://huggingface.co"

const (
	mostListing = 64 << 20 // bytes of a repository's list of files
	mainBranch  = "main"
)

// hub is a repository of the model hub: its files at one commit. The protocol is that of the hub's own client library: the list
// at /api/models/REPO/revision/REV, the files at /REPO/resolve/COMMIT/FILE. What lies in large-file storage comes with its sha256,
// the rest with the digest that git gives it, so all is verified.
type hub struct {
	p        *Puller
	endpoint string
	repo     string // org/name, or a name alone
	revision string // a branch, a tag or a commit
	quant    string // as asked for; ""
	file     string // as asked for; ""
}

// parseHub reads org/repo[@revision][:quant|/file].
func (p *Puller) parseHub(rest string) (source, error) {
	bad := func(format string, args ...any) (source, error) {
		return nil, serval.Errorf(serval.InvalidArgument, "hf:%s: %s; write hf:org/repo, hf:org/repo:Q4_K_M, hf:org/repo/path/file.onnx, "+
			"or any of them with @revision after the repository", rest, fmt.Sprintf(format, args...)).At("source")
	}
	h := &hub{p: p, endpoint: strings.TrimSuffix(p.opt.HubEndpoint, "/"), revision: mainBranch}
	if h.endpoint == "" {
		h.endpoint = DefaultHub
	}
	if u, err := url.Parse(h.endpoint); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, serval.Errorf(serval.InvalidArgument, "the hub's address %q (HF_ENDPOINT) must be like https://host", plainURL(h.endpoint)).At("HF_ENDPOINT")
	}
	org, after, found := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
	if !found {
		return bad("a repository has an owner and a name")
	}
	end := strings.IndexAny(after, "@:/")
	if end < 0 {
		end = len(after)
	}
	h.repo, after = org+"/"+after[:end], after[end:]
	if !hubWord(org) || !hubWord(strings.TrimPrefix(h.repo, org+"/")) {
		return bad("%q is no repository's name", h.repo)
	}
	if revision, ok := strings.CutPrefix(after, "@"); ok {
		end := strings.IndexAny(revision, ":/")
		if strings.HasPrefix(revision, "refs/pr/") {
			if end = strings.IndexAny(revision[len("refs/pr/"):], ":/"); end >= 0 {
				end += len("refs/pr/")
			}
		}
		if end < 0 {
			end = len(revision)
		}
		h.revision, after = strings.ReplaceAll(revision[:end], "%2F", "/"), revision[end:]
		if h.revision == "" || !safePath(h.revision) {
			return bad("%q is no revision", h.revision)
		}
	}
	switch {
	case after == "":
	case after[0] == ':':
		if h.quant = after[1:]; !hubWord(h.quant) {
			return bad("%q is no quantisation", h.quant)
		}
	default:
		if h.file = after[1:]; !safePath(h.file) {
			return bad("%q is no file of a repository", h.file)
		}
	}
	return h, nil
}

func hubWord(s string) bool {
	for i, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || i > 0 && (c == '.' || c == '-') {
			continue
		}
		return false
	}
	return s != "" && len(s) <= 96 && !strings.Contains(s, "..")
}

func (h *hub) name() string { return path.Base(h.repo) }

// settled holds for a commit: what it names does not change.
func (h *hub) settled() bool { return isHex(h.revision, 20) }

// listing is what the hub says of a repository at a revision.
type listing struct {
	SHA      string    `json:"sha"`
	Siblings []sibling `json:"siblings"`
}

type sibling struct {
	Name string `json:"rfilename"`
	Size *int64 `json:"size"`
	Blob string `json:"blobId"`
	LFS  *struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

func (h *hub) resolve(ctx context.Context, _ string) (*plan, error) {
	list, err := h.list(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list.Siblings))
	byName := map[string]*sibling{}
	for i := range list.Siblings {
		names[i] = list.Siblings[i].Name
		byName[names[i]] = &list.Siblings[i]
	}
	slices.Sort(names)
	chosen, note, err := h.choose(names)
	if err != nil {
		return nil, err
	}
	out := &plan{revision: list.SHA}
	if note != "" {
		out.notes = append(out.notes, note)
	}
	for _, c := range chosen {
		f := file{path: c.to, size: -1, from: h.web(list.SHA, c.from)}
		s := byName[c.from]
		if s.Size != nil {
			f.size = *s.Size
		}
		if s.LFS != nil {
			f.sha256, f.size = s.LFS.SHA256, s.LFS.Size
		} else if isHex(s.Blob, 20) && f.size >= 0 {
			f.blob = s.Blob
		}
		if f.size == -1 { // a mirror that lists names only
			looked, err := h.p.look(ctx, c.to, h.web(list.SHA, c.from))
			if err != nil {
				return nil, err
			}
			f = looked
		}
		out.files = append(out.files, f)
	}
	return out, nil
}

// list asks for the names, sizes and digests of the repository's files.
func (h *hub) list(ctx context.Context) (*listing, error) {
	w := &web{p: h.p, url: h.endpoint + "/api/models/" + h.repo + "/revision/" + url.PathEscape(h.revision) + "?blobs=true", prepare: h.authorize, refuse: h.refuse}
	out := &listing{}
	err := h.p.again(ctx, h.repo, func() (bool, error) {
		s, err := w.open(ctx, 0, "")
		if err != nil {
			return false, err
		}
		defer s.Close()
		raw, err := io.ReadAll(io.LimitReader(s, mostListing+1))
		if err != nil {
			if err == io.ErrUnexpectedEOF {
				err = &attempt{err: err}
			}
			return false, err
		}
		*out, err = readListing(raw)
		return false, err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func readListing(raw []byte) (listing, error) {
	var l listing
	bad := func(why string) (listing, error) {
		return listing{}, serval.Errorf(serval.Unavailable, "the hub's list of the repository's files cannot be used: %s; "+
			"is HF_ENDPOINT the address of a model hub?", why).At("HF_ENDPOINT")
	}
	if len(raw) > mostListing {
		return bad(fmt.Sprintf("it is longer than %d bytes", mostListing))
	}
	if err := json.Unmarshal(raw, &l); err != nil {
		return bad(err.Error())
	}
	if !isHex(l.SHA, 20) {
		return bad(fmt.Sprintf("%.80q is no commit", l.SHA))
	}
	if len(l.Siblings) > mostFiles {
		return bad(fmt.Sprintf("it has %d files", len(l.Siblings)))
	}
	kept := l.Siblings[:0]
	for _, s := range l.Siblings {
		if safePath(s.Name) { // a name with .. is nobody's model; .gitattributes is of no use
			kept = append(kept, s)
		}
	}
	l.Siblings = kept
	return l, nil
}

func (h *hub) web(commit, file string) *web {
	parts := strings.Split(file, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return &web{
		p: h.p, url: h.endpoint + "/" + h.repo + "/resolve/" + commit + "/" + strings.Join(parts, "/"), prepare: h.authorize, refuse: h.refuse,
		digest: func(head http.Header) string { // of the hub's own answer, which names what it links to
			tag := strings.Trim(head.Get("X-Linked-Etag"), `"`)
			if isHex(tag, 32) {
				return strings.ToLower(tag)
			}
			return ""
		},
	}
}

func (h *hub) authorize(req *http.Request) error {
	if h.p.opt.HubToken != "" {
		req.Header.Set("Authorization", "Bearer "+h.p.opt.HubToken)
	}
	return nil
}

// refuse reads the hub's own words for what it does not give.
func (h *hub) refuse(status int, head http.Header) error {
	token := "set HF_TOKEN to a token that may read it"
	if h.p.opt.HubToken != "" {
		token = "the token in HF_TOKEN may not read it"
	}
	said := plainText(head.Get("X-Error-Message"))
	if len(said) > 200 {
		said = said[:200]
	}
	switch code := head.Get("X-Error-Code"); {
	case code == "GatedRepo":
		return serval.Errorf(serval.PermissionDenied, "hf:%s is gated: ask for access on its page at %s/%s, and %s", h.repo, h.endpoint, h.repo, token).At("source")
	case code == "RevisionNotFound":
		return serval.Errorf(serval.NotFound, "hf:%s has no revision %q", h.repo, h.revision).At("source")
	case code == "EntryNotFound":
		return serval.Errorf(serval.NotFound, "hf:%s has no such file: %s", h.repo, said).At("source")
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return serval.Errorf(serval.PermissionDenied, "the hub does not give hf:%s (%d %s): there is no such repository, or it is private: %s", h.repo, status, said, token).At("source")
	case status == http.StatusNotFound:
		return serval.Errorf(serval.NotFound, "there is no hf:%s at revision %s on %s; is the name right?", h.repo, h.revision, h.endpoint).At("source")
	}
	return nil
}

// choice is a file of a repository and where it goes in the version's folder.
type choice struct{ from, to string }

// choose picks the files of one model.
func (h *hub) choose(names []string) ([]choice, string, error) {
	if h.file != "" {
		return h.chooseFile(names)
	}
	ggufs := groups(names)
	if len(ggufs) > 0 {
		g, note, err := pickQuant(ggufs, h.quant)
		if err != nil {
			return nil, "", serval.Errorf(serval.NotFound, "hf:%s %w", h.repo, err).At("source")
		}
		if g.missing != "" {
			return nil, "", serval.Errorf(serval.NotFound, "hf:%s: %s is a model in parts, and the part %s is missing in the repository", h.repo, g.files[0], g.missing).At("source")
		}
		return flat(g.files), note, nil
	}
	onnx, err := pickONNX(names, h.quant)
	if err != nil {
		return nil, "", serval.Errorf(serval.NotFound, "hf:%s %w", h.repo, err).At("source")
	}
	return withCompanions(onnx, names), "", nil
}

func (h *hub) chooseFile(names []string) ([]choice, string, error) {
	has := map[string]bool{}
	for _, n := range names {
		has[n] = true
	}
	if !has[h.file] {
		return nil, "", serval.Errorf(serval.NotFound, "hf:%s has no file %s; it has %s", h.repo, h.file, few(names)).At("source")
	}
	if strings.HasSuffix(strings.ToLower(h.file), ".onnx") {
		return withCompanions(h.file, names), "", nil
	}
	all, err := parts(h.file)
	if err != nil {
		return nil, "", err
	}
	for _, p := range all {
		if !has[p] {
			return nil, "", serval.Errorf(serval.NotFound, "hf:%s: %s is a model in parts, and the part %s is missing in the repository", h.repo, h.file, p).At("source")
		}
	}
	return flat(all), "", nil
}

// flat puts files into the version's folder itself.
func flat(files []string) []choice {
	out := make([]choice, len(files))
	for i, f := range files {
		out[i] = choice{f, path.Base(f)}
	}
	return out
}

// few lists names, but not all of very many.
func few(names []string) string {
	const most = 30
	if len(names) == 0 {
		return "none"
	}
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

var errNoModel = errors.New("holds neither a .gguf nor an .onnx file; name the file to fetch, as in hf:org/repo/path/file")
