package format

import (
	"maps"
	"slices"
	"strings"

	"serval"
	"serval/stream"
)

// Options are each format's, by name: pointers to structs with the defaults, to be copied and filled in from the configuration.
func Options() map[string]any {
	return map[string]any{
		"oip": &OIP{}, "oip_protobuf": &Protobuf{}, "rows": &Rows{}, "csv": &CSV{Separator: ","}, "raw": &Raw{}, "chat": &Chat{},
		"avro": &Avro{defaultSchemed()}, "protobuf": &ProtobufSchema{defaultSchemed()}, "json_schema": &JSONSchema{defaultSchemed(), true},
	}
}

// New makes a format of options as Options has them. events, if not nil, puts it inside CloudEvents.
func New(options any, events *CloudEvents) (stream.Format, error) {
	var f stream.Format
	var err error
	switch o := options.(type) {
	case *OIP:
		f = &oip{}
	case *Protobuf:
		f = &protobuf{}
	case *Rows:
		f, err = newRows(o)
	case *CSV:
		f, err = newCSV(o)
	case *Raw:
		f = &raw{*o}
	case *Chat:
		f, err = newChat(o)
	case *Avro:
		f, err = newAvro(o)
	case *ProtobufSchema:
		f, err = newProtobufSchema(o)
	case *JSONSchema:
		f, err = newJSONSchema(o)
	default:
		err = serval.Errorf(serval.InvalidArgument, "format: there is none with options %T; use one of %s", options, strings.Join(slices.Sorted(maps.Keys(Options())), ", "))
	}
	if err != nil {
		return nil, err
	}
	if events != nil {
		return newEvents(events, f), nil
	}
	return f, nil
}

// The header that says what a value is.
const contentType = "content-type"

// The content types, as headers hold them; they are never changed.
var (
	jsonType  = []byte("application/json")
	csvType   = []byte("text/csv")
	textType  = []byte("text/plain; charset=utf-8")
	bytesType = []byte("application/octet-stream")
	protoType = []byte("application/x-protobuf")
	avroType  = []byte("application/avro")
	eventType = []byte(structuredType + "+json; charset=UTF-8")
)

// typed sets the content type of a result, in place of its message's.
func typed(out *stream.Message, t []byte) {
	for i := range out.Headers {
		if strings.EqualFold(out.Headers[i].Key, contentType) {
			out.Headers[i] = stream.Header{Key: contentType, Value: t} // the slice is the result's own
			return
		}
	}
	out.Headers = append(out.Headers, stream.Header{Key: contentType, Value: t})
}

// room is where a result's value is written: what memory the worker gave, or some for it alone.
func room(out *stream.Message) []byte {
	if cap(out.Value) > 0 {
		return out.Value[:0]
	}
	return make([]byte, 0, 256)
}

func wrong(field, format string, args ...any) error {
	return serval.Errorf(serval.InvalidArgument, format, args...).At(field)
}

// misfit is the error of a format that does not fit the model: every message would fail, so none is a dead letter for it.
func misfit(format string, args ...any) error {
	return serval.Errorf(serval.Conflict, "the stream's format does not fit its model: "+format, args...)
}

// traceID is the id in a W3C traceparent; "" if there is none.
func traceID(traceparent string) string {
	if len(traceparent) < 55 {
		return ""
	}
	return traceparent[3:35]
}

// noTensors is the error for a model whose answers a format cannot hold.
func noTensors(a *stream.Answer, format string) error {
	return misfit("model '%s' does not answer with tensors, which format %s carries; use format chat or raw", a.Model.Name, format)
}

// chosen picks the outputs of those names, in that order; no names: all.
func chosen(a *stream.Answer, names []string) ([]serval.Tensor, error) {
	if len(names) == 0 {
		return a.Outputs, nil
	}
	list := make([]serval.Tensor, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(a.Outputs, func(t serval.Tensor) bool { return t.Name == name })
		if i < 0 {
			return nil, misfit("the model has no output '%s'; the format's outputs name it", name)
		}
		list = append(list, a.Outputs[i])
	}
	return list, nil
}
