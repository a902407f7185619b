package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// StreamCheck says what is wrong with a stream that only its plug-ins know. It is asked about streams that were read well.
type StreamCheck func(name string, s *Stream) []Mistake

// Mistake is what is wrong with one value of a section.
type Mistake struct {
	Path   string // below the section, as in source.kafka.brokers
	Reason string
}

// StreamText is a stream that was read alone, and its section of the document as YAML, with ${NAME} as it stands there.
type StreamText struct {
	Name   string
	Stream Stream
	Text   string
}

// ReadStreams reads a document that holds streams as serval.yaml does, and nothing else; Data, File, Env, Plugins and Streams of
// the Source count. The error is an *Errors.
func ReadStreams(s Source) ([]StreamText, error) {
	d := &decoder{file: s.File, env: s.Env, plugins: s.Plugins}
	var c struct {
		Streams map[string]Stream `yaml:"streams" doc:"streams of messages that models answer, by name"`
	}
	d.document(s.Data, &c)
	k := &check{d}
	if len(c.Streams) == 0 {
		k.fail("", "holds no streams; write 'streams:' and below it each stream under its name, as in serval.yaml")
	}
	k.streams(c.Streams)
	k.plugged(c.Streams, s.Streams)
	if err := d.errs.orNil(); err != nil {
		return nil, err
	}
	doc, err := parse(s.Data)
	if err != nil {
		return nil, err
	}
	var list []StreamText
	var failed error
	d.pairs(doc.Content[0], "", func(_, section *yaml.Node) {
		d.pairs(section, "streams", func(name, value *yaml.Node) {
			text, err := yaml.Marshal(value)
			if err != nil {
				failed = err
			}
			list = append(list, StreamText{name.Value, c.Streams[name.Value], string(text)})
		})
	})
	return list, failed
}

// ReadStream reads a document that is one stream's section.
func ReadStream(name string, s Source) (*StreamText, error) {
	d := &decoder{file: s.File, env: s.Env, plugins: s.Plugins, root: reflect.TypeFor[Stream](), at: map[string]position{"": {1, 1}}}
	var out Stream
	path := join("streams", name)
	top := &yaml.Node{Line: 1, Column: 1}
	doc, err := parse(s.Data)
	switch {
	case len(s.Data) > maxFile:
		d.fail(top, path, "the text has %d bytes; at most %d are read", len(s.Data), maxFile)
	case err != nil:
		d.syntax(s.Data, err)
	case doc == nil:
		d.fail(top, path, "is empty; write the stream's section, as it stands below its name in serval.yaml")
	default:
		d.value(doc.Content[0], path, reflect.ValueOf(&out).Elem(), rule{})
		k, one := &check{d}, map[string]Stream{name: out}
		k.streams(one)
		k.plugged(one, s.Streams)
	}
	if err := d.errs.orNil(); err != nil {
		return nil, err
	}
	return &StreamText{name, out, string(s.Data)}, nil
}

// ReadPlugin reads a document that names a plug-in of a kind ("source", "target") and its options, as a Plugin stands in a file.
// path is what it is called in messages.
func ReadPlugin(kind, path string, s Source) (Plugin, error) {
	d := &decoder{file: s.File, env: s.Env, plugins: s.Plugins, root: reflect.TypeFor[Stream](), at: map[string]position{"": {1, 1}}}
	var p Plugin
	doc, err := parse(s.Data)
	switch {
	case err != nil:
		d.syntax(s.Data, err)
	case doc != nil:
		d.value(doc.Content[0], path, reflect.ValueOf(&p).Elem(), rule{plugin: kind})
	}
	return p, d.errs.orNil()
}

// StreamSchema is the JSON Schema of a stream's section.
func StreamSchema(plugins Plugins) map[string]any {
	return schema{true, plugins}.of(reflect.ValueOf(&Stream{}).Elem(), rule{}, "")
}

// plugged has plug-ins check the streams that were read well.
func (k *check) plugged(all map[string]Stream, says StreamCheck) {
	if says == nil {
		return
	}
	read := len(k.errs)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		path := join("streams", name)
		if slices.ContainsFunc(k.errs[:read], func(e Error) bool { return e.Path == path || strings.HasPrefix(e.Path, path+".") }) {
			continue
		}
		s := all[name]
		for _, m := range says(name, &s) {
			k.fail(path+"."+m.Path, "%s", m.Reason)
		}
	}
}
