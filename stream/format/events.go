package format

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime"
	"slices"
	"strings"

	"serval"
	"serval/stream"
)

// CloudEvents puts a format inside events of CloudEvents 1.0, in the mode of each message: structured (the value is the event)
// or binary (its attributes are headers ce_…, as the Kafka protocol binding has them). The result is an event of its own in the
// same mode.
type CloudEvents struct {
	On     bool   `yaml:"on" doc:"messages are events of CloudEvents, and so are results"`
	Type   string `yaml:"type" doc:"type of the results; default: the message's with .prediction behind it"`
	Source string `yaml:"source" doc:"source of the results, a URI; default: serval/ and the model's name"`
}

type events struct {
	opt   CloudEvents
	inner stream.Format
}

func newEvents(o *CloudEvents, inner stream.Format) *events { return &events{*o, inner} }

// event is what of a message's event belongs into the result's.
type event struct {
	structured        bool
	id, kind, subject string
	extensions        map[string]json.RawMessage // traceparent, tracestate
	inner             any                        // the inner format's own
	header            string                     // ce_ or ce-
}

const structuredType = "application/cloudevents"

// Decode implements stream.Format.
func (f *events) Decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	return f.decode(m, model, call, f.inner.Decode)
}

// Gather implements stream.Gatherer.
func (f *events) Gather(n int) stream.Decode {
	inner := stream.Gather(f.inner, n)
	return func(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
		return f.decode(m, model, call, inner)
	}
}

func (f *events) decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call, inner stream.Decode) error {
	e := &event{}
	data := m.Value
	var err error
	kind, _ := m.Header(contentType)
	if len(kind) == 0 {
		kind, _ = m.Header("Content-Type")
	}
	switch prefix := attributePrefix(m); {
	case strings.HasPrefix(string(kind), structuredType+"-batch"):
		err = wrong(contentType, "the message is a batch of events; a message is one event")
	case strings.HasPrefix(string(kind), structuredType), prefix == "":
		data, err = e.structure(m.Value)
	default:
		e.header = prefix
		err = e.binary(m)
	}
	if err != nil {
		return err
	}
	bare := *m
	bare.Value = data
	if err := inner(&bare, model, call); err != nil {
		return err
	}
	e.inner = call.Carry
	call.Carry = e
	return nil
}

// attributePrefix is what attributes' headers begin with; "" where there are none.
func attributePrefix(m *stream.Message) string {
	for _, h := range m.Headers {
		if h.Key == "ce_specversion" || h.Key == "ce-specversion" {
			return h.Key[:3]
		}
	}
	return ""
}

func (e *event) binary(m *stream.Message) error {
	get := func(name string) string {
		v, _ := m.Header(e.header + name)
		return string(v)
	}
	e.id, e.kind, e.subject = get("id"), get("type"), get("subject")
	return e.check(get("specversion"), get("source"))
}

func (e *event) check(version, source string) error {
	switch {
	case version != "1.0":
		return wrong("specversion", "the event's specversion is %s; CloudEvents 1.0 is taken", quoted(version))
	case e.id == "" || source == "" || e.kind == "":
		return wrong("id", "the event must have id, source and type")
	}
	return nil
}

// structure reads an event and returns its data.
func (e *event) structure(value []byte) ([]byte, error) {
	e.structured = true
	var all map[string]json.RawMessage
	if err := json.Unmarshal(value, &all); err != nil {
		return nil, wrong("", "the message is not an event: %v; structured mode takes a JSON object, binary mode has headers ce_…", err)
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(all[name], &s) // what is no text is missing
		return s
	}
	e.id, e.kind, e.subject = text("id"), text("type"), text("subject")
	if err := e.check(text("specversion"), text("source")); err != nil {
		return nil, err
	}
	e.extensions = map[string]json.RawMessage{}
	for _, name := range []string{"traceparent", "tracestate"} {
		if v, ok := all[name]; ok {
			e.extensions[name] = v
		}
	}
	data, plain := all["data"]
	coded, inBase64 := all["data_base64"]
	switch {
	case plain == inBase64:
		return nil, wrong("data", "the event must have either data or data_base64")
	case inBase64:
		var b []byte
		if err := json.Unmarshal(coded, &b); err != nil {
			return nil, wrong("data_base64", "data_base64 is not Base64")
		}
		return b, nil
	}
	if kind := text("datacontenttype"); kind != "" && !isJSON(kind) { // then a text is the data itself
		var s string
		if err := json.Unmarshal(data, &s); err == nil {
			return []byte(s), nil
		}
	}
	return data, nil
}

func isJSON(kind string) bool {
	media, _, err := mime.ParseMediaType(kind)
	return err == nil && (media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"))
}

// Encode implements stream.Format.
func (f *events) Encode(m *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	e := call.Carry.(*event)
	plain := *call
	plain.Carry = e.inner
	if err := f.inner.Encode(m, &plain, a, out); err != nil {
		return err
	}
	kind, source := f.opt.Type, f.opt.Source
	if kind == "" {
		kind = e.kind + ".prediction"
	}
	if source == "" {
		source = "serval/" + a.Model.Name
	}
	if !e.structured {
		out.Headers = slices.DeleteFunc(out.Headers, func(h stream.Header) bool {
			return h.Key == e.header+"type" || h.Key == e.header+"source" || h.Key == e.header+"time" || h.Key == e.header+"dataschema"
		})
		out.Headers = append(out.Headers, stream.Header{Key: e.header + "type", Value: []byte(kind)}, stream.Header{Key: e.header + "source", Value: []byte(source)})
		return nil
	}
	inner, _ := out.Header(contentType)
	members := map[string]any{"specversion": "1.0", "id": e.id, "source": source, "type": kind, "datacontenttype": string(inner), "servalmodel": a.Model.Name, "servalversion": a.Model.Version}
	if e.subject != "" {
		members["subject"] = e.subject
	}
	for name, v := range maps.All(e.extensions) {
		members[name] = v
	}
	switch {
	case isJSON(string(inner)):
		members["data"] = json.RawMessage(out.Value)
	case bytes.HasPrefix(inner, []byte("text/")):
		members["data"] = string(out.Value)
	default:
		members["data_base64"] = out.Value
	}
	b, err := json.Marshal(members)
	if err != nil {
		return serval.Errorf(serval.Internal, "format cloud_events: %w", err)
	}
	out.Value = b
	typed(out, eventType)
	return nil
}
