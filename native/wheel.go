package native

import (
	"strings"

	"serval"
)

// wheel is what a wheel's file name says about where it runs. Source: the binary distribution format (PEP 427, PEP 425):
// name-version[-build]-python-abi-platform.whl, each of the last three a list joined by dots.
type wheel struct {
	python    string // "3.12"
	impl      string // "cp", "py"
	abis      []string
	platforms []string
}

// parseWheel reads a wheel's file name.
func parseWheel(file string) (wheel, error) {
	bad := func(reason string) error {
		return serval.Errorf(serval.InvalidArgument, "package file %q: %s; name a wheel as in name-1.0-py3-none-any.whl "+
			"(other kinds would have to be built, which runs their code)", file, reason).At("File")
	}
	base, found := strings.CutSuffix(file, ".whl")
	if !found {
		return wheel{}, bad("it is no wheel")
	}
	parts := strings.Split(base, "-")
	if n := len(parts); n != 5 && n != 6 {
		return wheel{}, bad("its name does not have the five or six parts of a wheel")
	}
	for _, part := range parts {
		if part == "" {
			return wheel{}, bad("a part of its name is empty")
		}
	}
	tags := parts[len(parts)-3:]
	pythons := strings.Split(tags[0], ".")
	tag := pythons[len(pythons)-1]
	if len(tag) < 3 || strings.Trim(tag[2:], "0123456789") != "" {
		return wheel{}, bad("its Python tag is not like py3 or cp312")
	}
	w := wheel{impl: tag[:2], python: tag[2:3], abis: strings.Split(tags[1], "."), platforms: strings.Split(tags[2], ".")}
	if len(tag) > 3 {
		w.python += "." + tag[3:]
	} else if w.python == "3" {
		w.python = "3.12" // pip reads "3" as 3.0
	}
	return w, nil
}

// arguments ask pip for this very wheel, whatever Python pip itself runs on.
func (w wheel) arguments() []string {
	args := []string{"--ignore-requires-python", "--python-version", w.python, "--implementation", w.impl}
	for _, a := range w.abis {
		args = append(args, "--abi", a)
	}
	for _, p := range w.platforms {
		args = append(args, "--platform", p)
	}
	return args
}

// cutWheel is a wheel's file name taken apart after the package's name.
func cutWheel(file string) (name, rest string, ok bool) {
	if !strings.HasSuffix(file, ".whl") {
		return "", "", false
	}
	return strings.Cut(file, "-")
}

// plainName is a package's name as the index compares it (PEP 503).
func plainName(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune("-_.", r) }), "-")
}
