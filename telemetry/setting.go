package telemetry

import (
	"encoding/json"
	"log/slog"
	"math"
	"strconv"

	"serval"
)

// Triton's names of the log settings.
const (
	settingLogFile    = "log_file"
	settingLogInfo    = "log_info"
	settingLogWarning = "log_warning"
	settingLogError   = "log_error"
	settingLogVerbose = "log_verbose_level"
	settingLogFormat  = "log_format"
)

// Triton's names of the trace settings.
const (
	settingTraceFile    = "trace_file"
	settingTraceLevel   = "trace_level"
	settingTraceRate    = "trace_rate"
	settingTraceCount   = "trace_count"
	settingLogFrequency = "log_frequency"
	settingTraceMode    = "trace_mode"
)

// Get returns the log settings under Triton's names; they are the same for all models.
func (l *Log) Get(string) map[string]any {
	verbose := int64(0)
	if l.levels.debug.Load() {
		verbose = 1
	}
	return map[string]any{
		settingLogFile:    l.name,
		settingLogInfo:    l.levels.info.Load(),
		settingLogWarning: l.levels.warn.Load(),
		settingLogError:   l.levels.err.Load(),
		settingLogVerbose: verbose,
		settingLogFormat:  *l.stamps.Load(),
	}
}

// Set changes log settings under Triton's names and returns all of them; an error changes nothing.
func (l *Log) Set(_ string, values map[string]any) (map[string]any, error) {
	var changes []func()
	for name, value := range values {
		switch name {
		case settingLogInfo, settingLogWarning, settingLogError:
			on, ok := value.(bool)
			if !ok {
				return nil, wrongSetting(name, value, "true or false")
			}
			flag := &l.levels.info
			if name == settingLogWarning {
				flag = &l.levels.warn
			} else if name == settingLogError {
				flag = &l.levels.err
			}
			changes = append(changes, func() { flag.Store(on) })
		case settingLogVerbose:
			n, ok := integer(value)
			if !ok || n < 0 {
				return nil, wrongSetting(name, value, "a level from 0 (off); 1 and more log everything")
			}
			changes = append(changes, func() { l.levels.debug.Store(n > 0) })
		case settingLogFormat:
			s, _ := value.(string)
			if s != "default" && s != "ISO8601" {
				return nil, wrongSetting(name, value, "one of default, ISO8601, which are the same here; text or JSON is log.format in serval.yaml")
			}
			changes = append(changes, func() { l.stamps.Store(&s) })
		case settingLogFile:
			if s, ok := value.(string); !ok || s != l.name {
				return nil, serval.Errorf(serval.InvalidArgument, "%s cannot be changed at run time, since whoever may do so could write to any file; set log.file in serval.yaml", name).At(name)
			}
		default:
			return nil, unknownSetting(name, "log_file, log_info, log_warning, log_error, log_verbose_level, log_format")
		}
	}
	for _, change := range changes {
		change()
	}
	if len(changes) > 0 {
		l.logger.Info("log settings changed by a client", slog.Any("settings", l.Get("")))
	}
	return l.Get(""), nil
}

// Get returns the trace settings under Triton's names; they are the same for all models.
func (t *Traces) Get(string) map[string]any {
	s := t.state.Load()
	level, count := "OFF", int64(-1)
	if s.on {
		level = "TIMESTAMPS"
	}
	if s.counted {
		count = max(0, t.left.Load())
	}
	return map[string]any{
		settingTraceFile:    "",
		settingTraceLevel:   []string{level},
		settingTraceRate:    strconv.FormatInt(s.rate(), 10),
		settingTraceCount:   strconv.FormatInt(count, 10),
		settingLogFrequency: "0",
		settingTraceMode:    "opentelemetry",
	}
}

// Set changes trace settings under Triton's names and returns all of them; an error changes nothing. A nil value puts back
// what the configuration says.
func (t *Traces) Set(model string, values map[string]any) (map[string]any, error) {
	if model != "" && len(values) > 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "trace settings are the same for all models here; change them without a model").At("model")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next, left := *t.state.Load(), t.left.Load()
	for name, value := range values {
		if err := t.change(&next, &left, name, value); err != nil {
			return nil, err
		}
	}
	if len(values) > 0 {
		t.left.Store(left)
		t.state.Store(&next)
	}
	return t.Get(""), nil
}

func (t *Traces) change(next *traceState, left *int64, name string, value any) *serval.Error {
	switch name {
	case settingTraceLevel:
		return t.changeLevel(next, value)
	case settingTraceRate:
		if value == nil {
			next.share = t.start.share
			return nil
		}
		n, ok := integer(value)
		if !ok || n < 0 {
			return wrongSetting(name, value, "a number n: one request in n is traced; 0: those whose caller asks")
		}
		next.share = 0
		if n > 0 {
			next.share = 1 / float64(n)
		}
	case settingTraceCount:
		n, ok := integer(value)
		if value == nil {
			n, ok = -1, true
		}
		if !ok || n < -1 {
			return wrongSetting(name, value, "how many requests are still traced; -1: no limit")
		}
		next.counted, *left = n >= 0, n
	case settingLogFrequency:
		if n, ok := integer(value); value != nil && (!ok || n != 0) {
			return wrongSetting(name, value, "0: traces are sent to traces.endpoint, not written to files")
		}
	case settingTraceFile:
		if s, ok := text(value); value != nil && (!ok || s != "") {
			return wrongSetting(name, value, "empty: traces are sent to traces.endpoint, not written to files")
		}
	case settingTraceMode:
		if s, ok := text(value); value != nil && (!ok || s != "opentelemetry") {
			return wrongSetting(name, value, "opentelemetry, the only mode here")
		}
	default:
		return unknownSetting(name, "trace_file, trace_level, trace_rate, trace_count, log_frequency, trace_mode")
	}
	return nil
}

func (t *Traces) changeLevel(next *traceState, value any) *serval.Error {
	if value == nil {
		next.on = t.start.on
		return nil
	}
	list, ok := texts(value)
	on := false
	for _, level := range list {
		switch level {
		case "TIMESTAMPS", "MIN", "MAX": // MIN and MAX are Triton's old names for it
			on = true
		case "OFF":
		case "TENSORS":
			return serval.Errorf(serval.InvalidArgument, "trace_level TENSORS is not supported: the contents of tensors are never traced; use TIMESTAMPS or OFF").At(settingTraceLevel)
		default:
			ok = false
		}
	}
	if !ok || len(list) == 0 {
		return wrongSetting(settingTraceLevel, value, `a list of OFF or TIMESTAMPS`)
	}
	if on && t.provider == nil {
		return serval.Errorf(serval.InvalidArgument, "there is no receiver for traces; set traces.endpoint in serval.yaml and start the server again").At(settingTraceLevel)
	}
	next.on = on
	return nil
}

func wrongSetting(name string, value any, want string) *serval.Error {
	return serval.Errorf(serval.InvalidArgument, "%s must be %s; it was given %.100q", name, want, valueText(value)).At(name)
}

func unknownSetting(name, known string) *serval.Error {
	return serval.Errorf(serval.InvalidArgument, "unknown setting %.100q; known are %s", name, known).At(name)
}

func valueText(value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		return "what is no JSON"
	}
	return string(b)
}

// integer reads a whole number in any of the types that JSON and protobuf give, also as text, as Triton's trace settings
// are.
func integer(value any) (int64, bool) {
	switch n := value.(type) {
	case int:
		return int64(n), true
	case int32:
		return int64(n), true
	case int64:
		return n, true
	case uint32:
		return int64(n), true
	case uint64:
		return int64(n), n <= math.MaxInt64
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<53
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	case string:
		i, err := strconv.ParseInt(n, 10, 64)
		return i, err == nil
	case []string:
		if len(n) == 1 {
			return integer(n[0])
		}
	case []any:
		if len(n) == 1 {
			return integer(n[0])
		}
	}
	return 0, false
}

// text reads one text, also as a list of one.
func text(value any) (string, bool) {
	if list, ok := texts(value); ok && len(list) == 1 {
		return list[0], true
	}
	return "", false
}

// texts reads a list of texts, or one text alone.
func texts(value any) ([]string, bool) {
	switch list := value.(type) {
	case string:
		return []string{list}, true
	case []string:
		return list, true
	case []any:
		made := make([]string, len(list))
		for i, one := range list {
			s, ok := one.(string)
			if !ok {
				return nil, false
			}
			made[i] = s
		}
		return made, true
	}
	return nil, false
}
