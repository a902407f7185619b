package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

type busSource struct {
	Brokers []string      `yaml:"brokers" doc:"who"`
	Wait    time.Duration `yaml:"wait" doc:"how long"`
}

type busTarget struct {
	Topic string `yaml:"topic" doc:"where"`
	Codec string `yaml:"codec" doc:"how" enum:"none,lz4"`
}

type rowsFormat struct {
	Columns []string `yaml:"columns" doc:"which"`
}

func testPlugins() Plugins {
	return Plugins{
		"source": {"bus": &busSource{Wait: time.Second}}, "target": {"bus": &busTarget{Codec: "lz4"}, "file": &busTarget{}}, "format": {"rows": &rowsFormat{}, "raw": &struct{}{}},
	}
}

func TestStreams(t *testing.T) {
	c, err := Read(Source{File: "f", Env: testEnv, Engines: testEngines(), Plugins: testPlugins(), Data: []byte(`
streams:
  credit:
    model: credit
    source: {bus: {brokers: [a, b]}}
    target: {bus: {topic: out}}
    dead_letter: {bus: {topic: dead, codec: none}}
    format: {rows: {columns: [age]}}
    max_message: 2MiB
  other:
    model: m
    source: bus
    target: bus
    format: raw
`)})
	if err != nil {
		t.Fatal(err)
	}
	s := c.Streams["credit"]
	want := []Plugin{
		{"bus", &busSource{Brokers: []string{"a", "b"}, Wait: time.Second}}, {"bus", &busTarget{Topic: "out", Codec: "lz4"}},
		{"bus", &busTarget{Topic: "dead", Codec: "none"}}, {"rows", &rowsFormat{Columns: []string{"age"}}},
	}
	if got := []Plugin{s.Source, s.Target, s.DeadLetter, s.Format}; !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v", got)
	}
	if s.MaxMessage != 2<<20 {
		t.Errorf("max_message is %v", s.MaxMessage)
	}
	if o := c.Streams["other"]; !reflect.DeepEqual(o.Source, Plugin{"bus", &busSource{Wait: time.Second}}) {
		t.Errorf("the name alone gives %+v", o.Source)
	}
}

func TestStreamMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"source: {bos: {}}":                       `f:5:14: streams.s.source: `,
		"source: {bus: {brokers: [a], topic: x}}": `f:5:34: streams.s.source.bus: `,
		"source: {bus: {}, file: {}}":             "must name one of bus and below it its options, not 2 keys",
		"source: 7":                               "streams.s.source: must be a section",
		"target: {bus: {codec: zip}}":             "streams.s.target.bus.codec",
		"delivery: sometimes":                     "streams.s.delivery",
		"on_error: drop\n    dead_letter: bus":    "is read only without dead_letter",
		"cloud_events: {type: x}":                 "on is false",
		"retry: {min: -1s}":                       "streams.s.retry.min",
		"calls: -1":                               "streams.s.calls",
	} {
		base := map[string]string{"model": "m", "source": "bus", "target": "bus", "format": "raw"}
		for key := range base {
			if strings.HasPrefix(text, key+":") || strings.Contains(text, "\n    "+key+":") {
				delete(base, key)
			}
		}
		data := "streams:\n  s:\n"
		data += "    # one mistake\n    # below\n    " + text + "\n"
		for key, value := range base {
			data += "    " + key + ": " + value + "\n"
		}
		_, err := Read(Source{File: "f", Engines: testEngines(), Plugins: testPlugins(), Data: []byte(data)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; it must say %q", text, err, want)
		}
		if err != nil && strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s: more than one mistake is reported:\n%v", text, err)
		}
	}
	_, err := Read(Source{File: "f", Engines: testEngines(), Plugins: testPlugins(), Data: []byte("streams: {'a b': {}}")})
	for _, want := range []string{"a stream's name must be", "model: is missing", "source: is missing", "target: is missing", "format: is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("an empty stream: %v; it must say %q", err, want)
		}
	}
}

func TestStreamSchema(t *testing.T) {
	c := Default()
	c.Plugins = testPlugins()
	raw, err := Schema("s", c)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Properties struct {
			Streams struct {
				AdditionalProperties struct {
					Properties map[string]struct {
						AnyOf []struct {
							Properties map[string]struct {
								Properties map[string]struct{ Default any }
							}
							Enum []string
						}
					}
				} `json:"additionalProperties"`
			}
		}
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	target := s.Properties.Streams.AdditionalProperties.Properties["target"]
	if len(target.AnyOf) != 2 || target.AnyOf[0].Properties["bus"].Properties["codec"].Default != "lz4" || len(target.AnyOf[1].Enum) != 2 {
		t.Errorf("target: %+v", target)
	}
}
