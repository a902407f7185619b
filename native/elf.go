package native

import (
	"debug/elf"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// elfMachine is the ELF machine number of this process; false where it is not known here.
func elfMachine() (elf.Machine, bool) {
	switch runtime.GOARCH {
	case "amd64":
		return elf.EM_X86_64, true
	case "arm64":
		return elf.EM_AARCH64, true
	case "riscv64":
		return elf.EM_RISCV, true
	case "ppc64le":
		return elf.EM_PPC64, true
	case "s390x":
		return elf.EM_S390, true
	}
	return 0, false
}

// checkLibrary says why the file at path is no shared library that this process could open; it opens nothing. Outside Linux
// it only looks for a plain file.
func checkLibrary(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no plain file", path)
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is no ELF shared library: %w", path, err)
	}
	defer f.Close()
	if f.Type != elf.ET_DYN {
		return fmt.Errorf("%s is an ELF file of type %s, not a shared library", path, f.Type)
	}
	if want, known := elfMachine(); known && f.Machine != want || strconv.IntSize == 64 && f.Class != elf.ELFCLASS64 {
		return fmt.Errorf("%s is built for %s (%s), this process is linux/%s; get the build for this machine", path, f.Machine, f.Class, runtime.GOARCH)
	}
	return nil
}

// needs is what a shared library asks of the system that opens it.
type needs struct {
	libraries []string // DT_NEEDED
	glibc     string   // the newest GLIBC_ version it binds to: "2.28"
	libstdcxx string   // the newest GLIBCXX_ version: "3.4.22"
}

func readNeeds(path string) (needs, error) {
	f, err := elf.Open(path)
	if err != nil {
		return needs{}, err
	}
	defer f.Close()
	var n needs
	if n.libraries, err = f.ImportedLibraries(); err != nil {
		return needs{}, err
	}
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return needs{}, err
	}
	for _, s := range symbols {
		n.glibc = newer(n.glibc, s.Version, "GLIBC_")
		n.libstdcxx = newer(n.libstdcxx, s.Version, "GLIBCXX_")
	}
	return n, nil
}

// definedVersion is the newest version with the prefix that the shared library at path defines, without it.
func definedVersion(path, prefix string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	versions, err := f.DynamicVersions()
	if err != nil {
		return "", err
	}
	newest := ""
	for _, v := range versions {
		newest = newer(newest, v.Name, prefix)
	}
	return newest, nil
}

// newer returns have, or what follows prefix in name if that is a version newer than have.
func newer(have, name, prefix string) string {
	v, found := strings.CutPrefix(name, prefix)
	if !found || strings.Trim(v, "0123456789.") != "" || compareVersions(v, have) <= 0 {
		return have
	}
	return v
}

// compareVersions compares dotted numbers; "" is the oldest.
func compareVersions(a, b string) int {
	return slices.Compare(versionNumbers(a), versionNumbers(b))
}

func versionNumbers(v string) []int {
	if v == "" {
		return nil
	}
	var out []int
	for part := range strings.SplitSeq(v, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break // "2.36-9+deb12": the number is all that counts
		}
		out = append(out, n)
	}
	return out
}
