package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Stream is one entry of streams: messages that a model answers. The zero value of a field means its default.
type Stream struct {
	Model       string        `yaml:"model" doc:"who answers: name, name:version or name@alias"`
	Tenant      string        `yaml:"tenant" doc:"whose requests they count as, in metrics, logs and usage; default: the stream's name"`
	Priority    int           `yaml:"priority" doc:"of its calls in the model's queue: 1 is the most urgent; 0: the model's default" min:"0" max:"127"`
	Background  bool          `yaml:"background" doc:"it works in what online calls leave over: while any come it is held to some 2,500 messages a second, and fewer of a slow model, so that they do not feel it; without any it has the whole machine"`
	Source      Plugin        `yaml:"source" plugin:"source" doc:"where messages are read: the broker's name, and below it its options"`
	Target      Plugin        `yaml:"target" plugin:"target" doc:"where answers are written: the broker's name, and below it its options"`
	DeadLetter  Plugin        `yaml:"dead_letter" plugin:"target" doc:"where messages go that cannot be answered, with the reason; default: see on_error"`
	OnError     string        `yaml:"on_error" doc:"without dead_letter, of a message that cannot be answered: wait (default: its partition waits, and the stream says why) or drop" enum:"wait,drop"`
	Format      Plugin        `yaml:"format" plugin:"format" doc:"how a message becomes the model's input, and the answer a message"`
	CloudEvents StreamEvents  `yaml:"cloud_events" doc:"whether messages are events of CloudEvents"`
	Delivery    string        `yaml:"delivery" doc:"at-least-once (default), or exactly-once: answers and positions in one transaction, where source and target are one cluster that has them, or the target keeps positions" enum:"at-least-once,exactly-once"`
	MaxMessage  Size          `yaml:"max_message" doc:"largest message; a larger one is a dead letter; 0: 1MiB"`
	MaxInFlight int           `yaml:"max_in_flight" doc:"most messages under way; no more are read then; 0: 8192, or 131072 where the target gathers them into files" min:"0"`
	MaxBytes    Size          `yaml:"max_in_flight_bytes" doc:"most bytes of those; 0: 64MiB"`
	Calls       int           `yaml:"calls" doc:"calls of the model at the same time; 0: 32" min:"0" max:"4096"`
	Group       int           `yaml:"group" doc:"most messages whose rows share a call, where the model puts rows of requests together; 1: none; 0: 256" min:"0" max:"65536"`
	Retry       StreamRetry   `yaml:"retry" doc:"what is tried again"`
	Drain       time.Duration `yaml:"drain" doc:"how long a stop waits for what is under way; 0: 20s"`
	Transaction time.Duration `yaml:"transaction" doc:"with exactly-once: how long a transaction takes messages; 0: 100ms"`
	Paused      bool          `yaml:"paused" doc:"it starts paused"`
	Compare     StreamCompare `yaml:"compare" doc:"this stream is a challenger: its answers are set against another stream's, which reads the same messages"`
}

// StreamCompare says against which stream another one's answers are set, and how.
type StreamCompare struct {
	Champion  string         `yaml:"champion" doc:"the other stream, on this server; both must read the same messages, each in a group of its own"`
	Output    string         `yaml:"output" doc:"the models' output that is compared; default: the first one"`
	Threshold *float64       `yaml:"threshold" doc:"from which on a number counts as 1, below as 0; default: numbers are only set against each other"`
	Window    int            `yaml:"window" doc:"most answers that wait for their counterpart, and messages for their outcome; 0: 50000" min:"0" max:"10000000"`
	Outcomes  StreamOutcomes `yaml:"outcomes" doc:"where it is told what turned out to be right"`
}

// StreamOutcomes are messages that say what was right: JSON objects.
type StreamOutcomes struct {
	From  Plugin        `yaml:"from" plugin:"target" doc:"where they are: a broker's name, and below it the place"`
	Key   string        `yaml:"key" doc:"the field, of the streams' messages and of outcomes, by which they belong together; default: the messages' keys"`
	Value string        `yaml:"value" doc:"the field of an outcome that says what was right: a label, a number, true or false"`
	Since time.Duration `yaml:"since" doc:"how far back outcomes are read when the server starts; 0: 24h"`
}

// StreamEvents says how a stream's messages are wrapped.
type StreamEvents struct {
	On     bool   `yaml:"on" doc:"messages are events of CloudEvents 1.0, structured or binary, and so are answers"`
	Type   string `yaml:"type" doc:"type of the answers; default: the message's with .prediction behind it"`
	Source string `yaml:"source" doc:"source of the answers, a URI; default: serval/ and the model's name"`
}

// StreamRetry says how often and when something is done again.
type StreamRetry struct {
	Attempts int           `yaml:"attempts" doc:"calls for one message, where the fault may be the message's; 0: 5" min:"0"`
	Min      time.Duration `yaml:"min" doc:"wait before the second attempt, doubled for each further one; 0: 100ms"`
	Max      time.Duration `yaml:"max" doc:"longest wait; 0: 10s"`
}

// Plugin is a plug-in that was chosen by its name, and its options: a section with one key, or the name alone for the defaults.
// The plugin tag of a field says which kind it takes.
type Plugin struct {
	Name    string // "": none
	Options any    // a pointer to the plug-in's own struct
}

// Plugins are the options of plug-ins, by kind ("source", "target", "format") and name: pointers to structs with the defaults,
// which are copied for each use.
type Plugins map[string]map[string]any

var pluginType = reflect.TypeFor[Plugin]()

// plugin reads a Plugin.
func (d *decoder) plugin(n *yaml.Node, path string, v reflect.Value, kind string) {
	known := slices.Sorted(maps.Keys(d.plugins[kind]))
	choose := func(at *yaml.Node, name string) any {
		usual, ok := d.plugins[kind][name]
		if !ok {
			d.fail(at, path, "%s", unknownKey(name, known, nil, path))
			return nil
		}
		options := reflect.New(reflect.TypeOf(usual).Elem())
		options.Elem().Set(reflect.ValueOf(usual).Elem())
		v.Set(reflect.ValueOf(Plugin{Name: name, Options: options.Interface()}))
		return options.Interface()
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		choose(n, n.Value)
		return
	}
	if n.Kind == yaml.MappingNode && len(n.Content) != 2 {
		d.fail(n, path, "must name one of %s and below it its options, not %d keys", strings.Join(known, ", "), len(n.Content)/2)
		return
	}
	d.pairs(n, path, func(key, value *yaml.Node) {
		if options := choose(key, key.Value); options != nil {
			d.value(value, join(path, key.Value), reflect.ValueOf(options).Elem(), rule{})
		}
	})
}

// plugin describes a Plugin.
func (m schema) plugin(s map[string]any, kind string) {
	properties := map[string]any{}
	for name, options := range m.plugins[kind] {
		properties[name] = m.of(reflect.ValueOf(options), rule{}, "")
	}
	s["anyOf"] = []any{
		map[string]any{"type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1, "maxProperties": 1},
		map[string]any{"enum": slices.Sorted(maps.Keys(properties))},
	}
}

// streams checks what no single value can show. The plug-ins check their own options: see plugged.
func (k *check) streams(all map[string]Stream) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s, path := all[name], join("streams", name)
		if name == "" || len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool {
			return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) {
			k.fail(path, "a stream's name must be 1 to 128 of the characters a-z A-Z 0-9 - _ .")
		}
		if s.Model == "" {
			k.fail(join(path, "model"), "is missing; name the model that answers")
		}
		for _, p := range []struct {
			key string
			Plugin
		}{{"source", s.Source}, {"target", s.Target}, {"format", s.Format}} {
			if p.Name == "" {
				k.fail(join(path, p.key), "is missing; name one, and below it its options")
			}
		}
		k.compare(join(path, "compare"), name, s.Compare)
		if s.OnError != "" && s.DeadLetter.Name != "" {
			k.fail(join(path, "on_error"), "is read only without dead_letter; remove one of them")
		}
		if !s.CloudEvents.On && s.CloudEvents != (StreamEvents{}) {
			k.fail(join(path, "cloud_events"), "has settings, but on is false; set on: true")
		}
		for _, d := range []struct {
			key string
			time.Duration
		}{{"drain", s.Drain}, {"transaction", s.Transaction}, {"retry.min", s.Retry.Min}, {"retry.max", s.Retry.Max}} {
			if d.Duration < 0 {
				k.fail(path+"."+d.key, "must not be negative, is %s", d.Duration)
			}
		}
	}
}

// compare checks a section of that name.
func (k *check) compare(path, name string, c StreamCompare) {
	switch {
	case c.Champion == name:
		k.fail(join(path, "champion"), "is the stream itself; name the one whose answers are in use")
	case c.Champion == "" && !reflect.ValueOf(c).IsZero():
		k.fail(join(path, "champion"), "is missing; name the stream whose answers are in use")
	case c.Outcomes.From.Name == "" && c.Outcomes != (StreamOutcomes{}):
		k.fail(join(path, "outcomes.from"), "is missing; name a broker, and below it the place where outcomes are")
	case c.Outcomes.From.Name != "" && c.Outcomes.Value == "":
		k.fail(join(path, "outcomes.value"), "is missing; name the field of an outcome that says what was right")
	case c.Outcomes.Since < 0:
		k.fail(join(path, "outcomes.since"), "must not be negative, is %s", c.Outcomes.Since)
	}
}
