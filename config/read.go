package config

import (
	"fmt"
	"reflect"

	"serval"
)

// Source is all that a Config is made of.
type Source struct {
	Data []byte // of serval.yaml; may be empty
	File string // its name, for messages
	Env  Lookup // for ${NAME}; nil: such text stays as it is
	// Engines holds a pointer to each engine's Options under the engine's name. They are filled in place.
	Engines map[string]any
	// Plugins are what streams may name, with the defaults of their options.
	Plugins Plugins
	// Streams says what plug-ins find wrong with a stream; nil: nobody asks them.
	Streams StreamCheck
	// Override is called before the whole is checked: the place for command-line flags. May be nil.
	Override func(*Config)
}

// Read makes a Config: the defaults, then the file, then Override; then everything is checked. The error is an *Errors.
func Read(s Source) (*Config, error) {
	c := Default()
	c.Engines = s.Engines
	d := &decoder{file: s.File, env: s.Env, plugins: s.Plugins}
	c.Plugins = s.Plugins
	d.document(s.Data, c)
	for i := range c.Keys {
		if len(c.Keys[i].Access) == 0 {
			c.Keys[i].Access = []string{"infer", "read"}
		}
	}
	if s.Override != nil {
		before := *c
		s.Override(c)
		d.forget(&before, c)
	}
	k := &check{d}
	k.config(c)
	k.plugged(c.Streams, s.Streams)
	if err := d.errs.orNil(); err != nil {
		return nil, err
	}
	return c, nil
}

// forget drops the positions of the values that an override has changed.
func (d *decoder) forget(before, after *Config) {
	a, b := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	for _, f := range fieldsOf(a.Type()) {
		if !reflect.DeepEqual(a.FieldByIndex(f.index).Interface(), b.FieldByIndex(f.index).Interface()) {
			d.at[f.name] = position{}
		}
	}
}

// ReadModel reads a model.yaml. What it does not say stays zero, which means the default. The error is an *Errors.
func ReadModel(data []byte, file string) (serval.ModelSettings, error) {
	var m serval.ModelSettings
	d := &decoder{file: file}
	d.document(data, &m)
	(&check{d}).model("", &m)
	if err := d.errs.orNil(); err != nil {
		return serval.ModelSettings{}, err
	}
	return m, nil
}

// CheckModel checks settings that did not come from a file; source names where they came from, for messages.
func CheckModel(m *serval.ModelSettings, source string) error {
	d := &decoder{file: source, at: map[string]position{"": {}}}
	(&check{d}).model("", m)
	return d.errs.orNil()
}

// check looks at values that were read well by themselves.
type check struct{ *decoder }

// fail notes a mistake in the value at path, unless that, or what it is part of, could not even be read.
func (k *check) fail(path, format string, args ...any) {
	for p := path; p != ""; p = parent(p) {
		if k.bad[p] {
			return
		}
	}
	e := Error{File: k.file, Path: path, Reason: fmt.Sprintf(format, args...)}
	if p := k.place(path); p != (position{}) {
		e.Line, e.Col = p.line, p.col
	} else if k.at[""] != (position{}) {
		e.File = "command line"
	}
	k.errs = append(k.errs, e)
}

// place is where the value of path stands, or else the section that it is missing from.
func (k *check) place(path string) position {
	for {
		if p, ok := k.at[path]; ok {
			return p
		}
		path = parent(path)
	}
}

// parent is the path of the section or list that path is in.
func parent(path string) string {
	inQuotes := false
	for i := len(path) - 1; i > 0; i-- {
		switch c := path[i]; {
		case c == '"' && path[i-1] != '\\':
			inQuotes = !inQuotes
		case !inQuotes && (c == '.' || c == '['):
			return path[:i]
		}
	}
	return ""
}
