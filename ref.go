package serval

import "strings"

// Ref names a model as a caller does: "name", "name:version" or "name@alias". At most one of Version and Alias is set;
// neither means the model's default version.
type Ref struct {
	Name    string
	Version string
	Alias   string
}

// ParseRef reads a Ref. The last ':' or '@' splits it.
func ParseRef(s string) (Ref, error) {
	r := Ref{Name: s}
	if i := strings.LastIndexAny(s, ":@"); i >= 0 {
		r.Name = s[:i]
		if s[i] == ':' {
			r.Version = s[i+1:]
		} else {
			r.Alias = s[i+1:]
		}
		if i == len(s)-1 {
			return Ref{}, Errorf(InvalidArgument, "model %q: nothing stands after the %q; write name, name:version or name@alias", s, s[i]).At("model")
		}
	}
	if r.Name == "" {
		return Ref{}, Errorf(InvalidArgument, "model %q has no name; write name, name:version or name@alias", s).At("model")
	}
	return r, nil
}

// String writes the Ref as ParseRef reads it.
func (r Ref) String() string {
	switch {
	case r.Version != "":
		return r.Name + ":" + r.Version
	case r.Alias != "":
		return r.Name + "@" + r.Alias
	}
	return r.Name
}
