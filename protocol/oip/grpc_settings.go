package oip

import (
	"context"
	"fmt"
	"strconv"

	"serval"
	"serval/protocol"
	"serval/wire/inference"
)

// TraceSetting reads the trace settings of the server or of a model, after changing those that the request names. A value
// without elements sets the default again, which is a nil for protocol.Settings; several elements are a []string.
func (s *service) TraceSetting(ctx context.Context, r *inference.TraceSettingRequest) (*inference.TraceSettingResponse, error) {
	values := make(map[string]any, len(r.Settings))
	for name, v := range r.Settings {
		switch list := v.GetValue(); len(list) {
		case 0:
			values[name] = nil
		case 1:
			values[name] = list[0]
		default:
			values[name] = list
		}
	}
	now, err := changeSettings(s.p.backend.Tracing, "trace", r.ModelName, values)
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	out := &inference.TraceSettingResponse{Settings: make(map[string]*inference.TraceSettingResponse_SettingValue, len(now))}
	for name, v := range now {
		out.Settings[name] = &inference.TraceSettingResponse_SettingValue{Value: settingTexts(v)}
	}
	return out, nil
}

// LogSettings reads the log settings, after changing those that the request names.
func (s *service) LogSettings(ctx context.Context, r *inference.LogSettingsRequest) (*inference.LogSettingsResponse, error) {
	values := make(map[string]any, len(r.Settings))
	for name, v := range r.Settings {
		switch v.GetParameterChoice().(type) {
		case *inference.LogSettingsRequest_SettingValue_BoolParam:
			values[name] = v.GetBoolParam()
		case *inference.LogSettingsRequest_SettingValue_Uint32Param:
			values[name] = int64(v.GetUint32Param())
		case *inference.LogSettingsRequest_SettingValue_StringParam:
			values[name] = v.GetStringParam()
		default:
			return nil, grpcError(ctx, serval.Errorf(serval.InvalidArgument, "log setting '%s' has no value", name).At(name))
		}
	}
	now, err := changeSettings(s.p.backend.Logging, "log", "", values)
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	out := &inference.LogSettingsResponse{Settings: make(map[string]*inference.LogSettingsResponse_SettingValue, len(now))}
	for name, v := range now {
		out.Settings[name] = logSetting(v)
	}
	return out, nil
}

// changeSettings changes the named values, if any, and returns all.
func changeSettings(s protocol.Settings, what, model string, values map[string]any) (map[string]any, error) {
	if s == nil {
		return nil, serval.Errorf(serval.Unimplemented, "this server has no %s settings to read or change", what)
	}
	if len(values) == 0 {
		return s.Get(model), nil
	}
	return s.Set(model, values)
}

// settingTexts writes a setting as a list of texts, the only form that trace settings have.
func settingTexts(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case []string:
		return v
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = fmt.Sprint(v[i])
		}
		return texts
	}
	return []string{fmt.Sprint(v)}
}

// logSetting writes a setting in the type it has: a flag, a whole number from 0 up, or a text.
func logSetting(v any) *inference.LogSettingsResponse_SettingValue {
	switch v := v.(type) {
	case bool:
		return &inference.LogSettingsResponse_SettingValue{ParameterChoice: &inference.LogSettingsResponse_SettingValue_BoolParam{BoolParam: v}}
	case int, int64, uint32, uint64, float64:
		if n, err := strconv.ParseUint(fmt.Sprint(v), 10, 32); err == nil {
			return &inference.LogSettingsResponse_SettingValue{ParameterChoice: &inference.LogSettingsResponse_SettingValue_Uint32Param{Uint32Param: uint32(n)}}
		}
	}
	return &inference.LogSettingsResponse_SettingValue{ParameterChoice: &inference.LogSettingsResponse_SettingValue_StringParam{StringParam: fmt.Sprint(v)}}
}
