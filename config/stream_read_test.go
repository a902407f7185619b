package config

import (
	"strings"
	"testing"
)

func streamSource(text string) Source {
	return Source{Data: []byte(text), File: "body", Env: testEnv, Plugins: testPlugins(), Streams: func(name string, s *Stream) (list []Mistake) {
		if o, ok := s.Target.Options.(*busTarget); ok && o.Topic == "" {
			list = append(list, Mistake{"target.bus.topic", "is missing in " + name})
		}
		return list
	}}
}

// TestReadStreams: streams alone are read as those of a serval.yaml, and each comes with its own text.
func TestReadStreams(t *testing.T) {
	list, err := ReadStreams(streamSource("# two\nstreams:\n  b: # the second\n    model: m\n    source: bus\n    target: {bus: {topic: \"${HOME}\"}}\n    format: raw\n  a:\n    model: n\n    source: bus\n    target: {bus: {topic: x}}\n    format: raw\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Name != "b" || list[1].Stream.Model != "n" || !strings.Contains(list[0].Text, "${HOME}") {
		t.Fatalf("%+v", list)
	}
	for _, one := range list {
		again, err := ReadStream(one.Name, streamSource(one.Text))
		if err != nil || again.Stream.Model != one.Stream.Model || again.Stream.Target.Options.(*busTarget).Topic != one.Stream.Target.Options.(*busTarget).Topic {
			t.Errorf("%s: %v, %+v", one.Name, err, again)
		}
	}
	for text, want := range map[string]string{
		"":              "holds no streams",
		"streams:":      "holds no streams",
		"models: {}":    "models",
		"streams: [a]":  "streams",
		"streams: {a: ": "not valid YAML",
		"streams: {a: {model: m, source: bus, target: bus, format: raw}}":              "body:1:46: streams.a.target.bus.topic: is missing in a",
		"streams: {a: {model: m, source: bus, target: bus, format: raw, x: 1}}":        "body:1:64: streams.a: unknown key \"x\"",
		"streams: {a: {source: bus, target: {bus: {topic: x}}, format: raw}}":          "streams.a.model: is missing",
		"streams: {a/b: {model: m, source: bus, target: bus, format: raw}}":            "a stream's name must be",
		"streams: {a: {model: m, source: bus, target: {bus: {topc: x}}, format: raw}}": "topc",
	} {
		_, err := ReadStreams(streamSource(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; it must say %q", text, err, want)
		}
	}
	if _, err := ReadPlugin("target", "target", streamSource("{bus: {topic: x, codec: zip}}")); err == nil || !strings.Contains(err.Error(), "target.bus.codec") {
		t.Errorf("%v", err)
	}
	if p, err := ReadPlugin("target", "target", streamSource("{bus: {topic: x}}")); err != nil || p.Name != "bus" || p.Options.(*busTarget).Topic != "x" {
		t.Errorf("%+v %v", p, err)
	}
}

// TestReadPlugged: a configuration's streams are checked by their plug-ins, but not those that could not be read.
func TestReadPlugged(t *testing.T) {
	s := streamSource("streams:\n  a: {model: m, source: bus, target: bus, format: raw}\n  b: {model: m, source: bus, target: bus, format: raw, calls: x}\n")
	s.Engines = testEngines()
	_, err := Read(s)
	if err == nil || !strings.Contains(err.Error(), "body:2:38: streams.a.target.bus.topic: is missing in a") || strings.Contains(err.Error(), "missing in b") {
		t.Errorf("%v", err)
	}
}

// FuzzReadStream: whatever comes through the control API is read or refused.
func FuzzReadStream(f *testing.F) {
	f.Add("model: m\nsource: bus\ntarget: {bus: {topic: x}}\nformat: raw\n")
	f.Add(`{"streams": {"a": {"model": "m"}}}`)
	f.Add("{bus: {topic: ${HOME}}}")
	f.Fuzz(func(t *testing.T, text string) {
		s := streamSource(text)
		if one, err := ReadStream("a", s); err == nil && (one.Stream.Model == "" || one.Stream.Source.Options == nil) {
			t.Errorf("%q is taken", text)
		}
		if list, err := ReadStreams(s); err == nil {
			for _, one := range list {
				if _, err := ReadStream(one.Name, streamSource(one.Text)); err != nil {
					t.Errorf("%q of %q: %v", one.Text, text, err)
				}
			}
		}
		_, _ = ReadPlugin("target", "target", s)
	})
}
