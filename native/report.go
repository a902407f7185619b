package native

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Report is what serval doctor shows: the machine, the clients, the libraries, and what is wrong with each.
type Report struct {
	OS        string          `json:"os"`
	Arch      string          `json:"arch"`
	Kernel    string          `json:"kernel,omitempty"`
	CPU       CPU             `json:"cpu"`
	Memory    Memory          `json:"memory"`
	GLibC     SystemLibrary   `json:"glibc"`
	LibStdCXX SystemLibrary   `json:"libstdcxx"`
	Cache     Folder          `json:"cache"`
	Offline   *Folder         `json:"offline,omitempty"`
	Clients   []ClientReport  `json:"clients"`
	Libraries []LibraryReport `json:"libraries"`
	Problems  []Problem       `json:"problems"`
}

// SystemLibrary is a library of the system that engines' libraries are linked to.
type SystemLibrary struct {
	Found   bool   `json:"found"`
	Version string `json:"version,omitempty"` // of its newest symbols: "2.36" for glibc, "3.4.30" for libstdc++
	Path    string `json:"path,omitempty"`
}

// Folder is a folder that the Store uses.
type Folder struct {
	Path     string `json:"path"`
	Writable bool   `json:"writable"` // it is, or could be made
}

// ClientReport is a package client.
type ClientReport struct {
	Name    Client `json:"name"`
	Found   bool   `json:"found"`
	Command string `json:"command,omitempty"`
	Path    string `json:"path,omitempty"`
	Version string `json:"version,omitempty"`
}

// LibraryReport is a library that engines may ask for.
type LibraryReport struct {
	Name     string `json:"name"`
	Found    bool   `json:"found"`
	Version  string `json:"version,omitempty"` // that was found, else that would be fetched; empty for an explicit path
	Path     string `json:"path,omitempty"`
	From     string `json:"from,omitempty"`     // "path", "cache", "offline"
	Package  string `json:"package,omitempty"`  // "pip onnxruntime 1.32.0"
	Verified bool   `json:"verified,omitempty"` // its sha256 was computed just now and is the pinned one
}

// Problem is something that is wrong, and the command or step that mends it.
type Problem struct {
	What string `json:"what"`
	Fix  string `json:"fix"`
}

// OK says whether nothing is wrong.
func (r Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) problem(what, fix string) { r.Problems = append(r.Problems, Problem{what, fix}) }

// Report looks at the machine, reads every library found in full to compare its digest, and asks the clients for their
// versions. It downloads nothing.
func (s *Store) Report(ctx context.Context) Report { return s.report(ctx, machine{"/"}) }

func (s *Store) report(ctx context.Context, m machine) Report {
	r := Report{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: m.text("/proc/sys/kernel/osrelease"),
		CPU: m.cpu(), Memory: m.memory(),
		GLibC:     m.systemLibrary("libc.so.6", "GLIBC_"),
		LibStdCXX: m.systemLibrary("libstdc++.so.6", "GLIBCXX_"),
		Cache:     Folder{s.cache, writable(s.cache)},
		Clients:   []ClientReport{}, Libraries: []LibraryReport{}, Problems: []Problem{},
	}
	if s.offline != "" {
		r.Offline = &Folder{s.offline, writable(s.offline)}
		if _, err := os.ReadDir(s.offline); err != nil {
			r.problem("the offline folder cannot be read: "+err.Error(), "mkdir -p "+quote(s.offline))
		}
	}
	r.systemProblems()
	for _, kind := range []Client{Pip, NPM} {
		entry := ClientReport{Name: kind}
		if c, err := findClient(ctx, kind); err == nil {
			entry = ClientReport{Name: kind, Found: true, Command: strings.Join(c.command, " "), Path: c.path, Version: c.version}
		}
		r.Clients = append(r.Clients, entry)
	}
	for _, name := range s.Libraries() {
		s.reportLibrary(&r, m, name)
	}
	return r
}

// systemProblems are those of the machine itself.
func (r *Report) systemProblems() {
	if !r.Cache.Writable {
		r.problem(fmt.Sprintf("the cache folder %q cannot be written", r.Cache.Path), "give another folder, or: mkdir -p "+quote(r.Cache.Path)+" && chown \"$USER\" "+quote(r.Cache.Path))
	}
	if r.OS != "linux" {
		return
	}
	if !r.GLibC.Found {
		r.problem("glibc (libc.so.6) was not found where the dynamic linker looks; the engines' libraries need it", "use a system with glibc, such as the debian:stable-slim image (Alpine's musl does not do)")
	}
	if !r.LibStdCXX.Found {
		r.problem("libstdc++.so.6 was not found where the dynamic linker looks; the engines' libraries need it", "apt-get install libstdc++6")
	}
}

// reportLibrary adds one library, with what is wrong with it.
func (s *Store) reportLibrary(r *Report, m machine, name string) {
	f, err := s.find(name)
	entry := LibraryReport{Name: name}
	if l := f.library; l.Name != "" {
		entry.Version, entry.Package = l.Package.Version, string(l.Package.Client)+" "+l.Package.String()
	}
	if err != nil {
		if all := s.candidates(name); len(all) > 0 {
			entry.Version, entry.Package = all[0].Package.Version, string(all[0].Package.Client)+" "+all[0].Package.String()
		}
		r.Libraries = append(r.Libraries, entry)
		what, fix := s.fixLibrary(r, name, f, err)
		r.problem(what, fix)
		return
	}
	entry.Found, entry.Path, entry.From = true, f.path, f.from
	if f.from != "path" {
		if err := s.verifyFound(f); err != nil {
			r.problem(fmt.Sprintf("library %s is damaged: %v", name, err), "rm -rf "+quote(s.dir(f.library.Package))+" && serval doctor --fix")
		} else {
			entry.Verified = true
		}
	}
	r.Libraries = append(r.Libraries, entry)
	if r.OS == "linux" {
		r.needsProblems(m, name, f.path)
	}
}

// verifyFound compares the whole library, and for the cache all that was unpacked beside it, with the pinned digests.
func (s *Store) verifyFound(f found) error {
	l := f.library
	if filepath.Dir(f.path) == s.offline {
		return verifyFile(f.path, l.Package.digestOf(l.Path))
	}
	return verify(l.Package, s.dir(l.Package), true)
}

// fixLibrary words what is wrong with a library that find did not find, and what mends it on this machine.
func (s *Store) fixLibrary(r *Report, name string, f found, err error) (what, fix string) {
	if !f.missing {
		return err.Error(), "see above; then run serval doctor again"
	}
	all := s.candidates(name)
	what = fmt.Sprintf("library %s %s is not on this machine", name, all[0].Package.Version)
	if s.offline != "" { // then nothing is fetched, whatever clients there are
		what = fmt.Sprintf("library %s %s is not in %s, and with --offline nothing is fetched", name, all[0].Package.Version, s.offline)
		return what, s.byHand(all[0].Package) + "   (or without --offline: serval doctor --fix)"
	}
	for _, l := range all {
		for _, c := range r.Clients {
			if c.Found && c.Name == l.Package.Client {
				return what, "serval doctor --fix   (or by hand: " + s.byHand(l.Package) + ")"
			}
		}
	}
	return what + ", and neither pip nor npm is there to fetch it", "apt-get install python3-pip, then serval doctor --fix; or elsewhere: " +
		all[0].Package.command(".") + ", and put the file into " + filepath.Dir(s.archiveSpot(all[0].Package))
}

// archiveSpot is where p's archive is looked for.
func (s *Store) archiveSpot(p Package) string {
	if s.offline != "" {
		return filepath.Join(s.offline, p.File)
	}
	return filepath.Join(s.archives(), p.File)
}

// needsProblems compares what a library is linked to with what the system has.
func (r *Report) needsProblems(m machine, name, path string) {
	n, err := readNeeds(path)
	if err != nil {
		r.problem(fmt.Sprintf("library %s: %s cannot be read as ELF: %v", name, path, err), "remove it and run: serval doctor --fix")
		return
	}
	if r.GLibC.Found && compareVersions(n.glibc, r.GLibC.Version) > 0 {
		r.problem(fmt.Sprintf("library %s needs glibc %s, this system has %s", name, n.glibc, r.GLibC.Version), "use a newer system or image")
	}
	if r.LibStdCXX.Found && compareVersions(n.libstdcxx, r.LibStdCXX.Version) > 0 {
		r.problem(fmt.Sprintf("library %s needs GLIBCXX_%s, this system's libstdc++ has up to %s", name, n.libstdcxx, r.LibStdCXX.Version), "apt-get install --only-upgrade libstdc++6, or use a newer system")
	}
	for _, lib := range n.libraries {
		if lib == "libc.so.6" || lib == "libstdc++.so.6" { // told already
			continue
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), lib)); err == nil {
			continue
		}
		if m.locate(lib) == "" {
			r.problem(fmt.Sprintf("library %s needs %s, which was not found where the dynamic linker looks", name, lib), "install the system package that has "+lib)
		}
	}
}

func (m machine) systemLibrary(name, prefix string) SystemLibrary {
	path := m.locate(name)
	if path == "" {
		return SystemLibrary{}
	}
	version, _ := definedVersion(path, prefix) // a library without versions is there all the same
	return SystemLibrary{Found: true, Version: version, Path: path}
}

// writable tries whether dir, or the nearest parent that exists, takes a new file.
func writable(dir string) bool {
	if dir == "" {
		return false
	}
	for {
		if _, err := os.Stat(dir); err == nil {
			f, err := os.CreateTemp(dir, ".serval-doctor-*")
			if err != nil {
				return false
			}
			f.Close()
			return os.Remove(f.Name()) == nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
}
