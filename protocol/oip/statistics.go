package oip

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"serval"
	"serval/internal/jsontensor"
	"serval/protocol"
)

// serveConfig answers the model's configuration in Triton's words.
func (p *Protocol) serveConfig(w http.ResponseWriter, r *http.Request) {
	info, err := p.info(r)
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	protocol.WriteJSON(w, http.StatusOK, appendMessage(nil, modelConfig(info).ProtoReflect()))
}

// serveStatistics answers the statistics of one version, of all ready versions of a model, or of all models.
func (p *Protocol) serveStatistics(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("model")
	list, err := p.infos(name, r.PathValue("version"))
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	body := []byte(`{"model_stats":[`)
	for i, info := range list {
		var stats serval.Stats
		stats, err = p.backend.Models.Stats(serval.Ref{Name: info.Name, Version: info.Version})
		if err != nil && name == "" {
			continue // unloaded since it was listed
		}
		if err != nil {
			protocol.FailText(w, r, serval.AsError(err))
			return
		}
		if i > 0 && body[len(body)-1] == '}' {
			body = append(body, ',')
		}
		body = appendMessage(body, modelStatistics(info, stats).ProtoReflect())
		body = appendOwn(body, &stats)
	}
	protocol.WriteJSON(w, http.StatusOK, append(body, ']', '}'))
}

// appendOwn adds what Triton's statistics have no field for to the object that body ends with: why batches closed, why calls
// were refused, how many wait, how many sequences live. Triton's clients ignore a field that they do not know.
func appendOwn(body []byte, s *serval.Stats) []byte {
	var process *serval.ProcessStats // of an isolated model
	if s.Process != (serval.ProcessStats{}) {
		process = &s.Process
	}
	own, err := json.Marshal(struct {
		Closed    map[string]uint64 `json:"closed"`
		Rejected  map[string]uint64 `json:"rejected"`
		Waiting   int               `json:"waiting"`
		Instances int               `json:"instances"`
		Sequences int               `json:"sequences"`

		Process *serval.ProcessStats `json:"process,omitempty"`
	}{s.Closed, s.Rejected, s.Waiting, s.Instances, s.Sequences, process})
	if err != nil { // plain data: it cannot fail
		return body
	}
	body = append(body[:len(body)-1], `,"serval":`...)
	return append(append(body, own...), '}')
}

func (p *Protocol) infos(name, version string) ([]serval.ModelInfo, error) {
	if version != "" {
		info, err := p.backend.Models.Model(serval.Ref{Name: name, Version: version})
		return []serval.ModelInfo{info}, err
	}
	if name != "" {
		ref, err := serval.ParseRef(name)
		if err != nil {
			return nil, err
		}
		info, err := p.backend.Models.Model(ref)
		if err != nil || ref.Version != "" || ref.Alias != "" {
			return []serval.ModelInfo{info}, err
		}
	}
	var list []serval.ModelInfo
	for _, info := range p.backend.Models.List() {
		if (name == "" || info.Name == name) && info.State == serval.StateReady {
			list = append(list, info)
		}
	}
	return list, nil
}

// appendMessage writes a message as Triton's REST does: fields by their proto names, plain fields and lists also when they
// are empty, 64-bit numbers as numbers (protobuf's own JSON quotes them), enumerations by name.
func appendMessage(b []byte, m protoreflect.Message) []byte {
	b = append(b, '{')
	first := true
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(jsontensor.AppendString(b, string(f.Name())), ':')
		v := m.Get(f)
		switch {
		case f.IsMap():
			b = appendMap(b, f, v.Map())
		case f.IsList():
			b = append(b, '[')
			list := v.List()
			for j := range list.Len() {
				if j > 0 {
					b = append(b, ',')
				}
				b = appendScalar(b, f, list.Get(j))
			}
			b = append(b, ']')
		default:
			b = appendScalar(b, f, v)
		}
	}
	return append(b, '}')
}

// appendMap writes the entries by key, so that the same message is always the same text.
func appendMap(b []byte, f protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	entries := make(map[string]protoreflect.Value, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		entries[k.String()] = v
		return true
	})
	b = append(b, '{')
	for i, k := range slices.Sorted(maps.Keys(entries)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(jsontensor.AppendString(b, k), ':')
		b = appendScalar(b, f.MapValue(), entries[k])
	}
	return append(b, '}')
}

func appendScalar(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return appendMessage(b, v.Message())
	case protoreflect.EnumKind:
		if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
			return jsontensor.AppendString(b, string(d.Name()))
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10)
	case protoreflect.StringKind:
		return jsontensor.AppendString(b, v.String())
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return strconv.AppendFloat(b, v.Float(), 'g', -1, 64)
	case protoreflect.BytesKind:
		return jsontensor.AppendString(b, v.Bytes())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	}
	return strconv.AppendInt(b, v.Int(), 10)
}
