package telemetry

import (
	"strconv"
	"time"
	"unicode/utf8"

	"serval"
)

// longest is how many bytes of a text from outside a line shows.
const longest = 512

// request writes the access line of one request. The line is made by hand, straight into the buffer: this runs for every
// request, and slog's handlers would be most of what a small request costs.
func (l *Log) request(req *serval.Request, err *serval.Error, now time.Time) {
	if l == nil || !l.access || !l.levels.info.Load() {
		return
	}
	b, ok := l.lines.start()
	if !ok {
		return
	}
	e := encoder{json: l.json}
	if e.json {
		b = l.lines.time(append(b, `{"time":"`...), now)
		b = append(b, `","level":"INFO","msg":"request"`...)
	} else {
		b = l.lines.time(append(b, "time="...), now)
		b = append(b, " level=INFO msg=request"...)
	}
	b = e.text(b, keyID, req.ID)
	b = e.text(b, keyTenant, req.Tenant)
	b = e.text(b, keyProtocol, req.Protocol)
	b = e.text(b, keyModel, req.Model.Name)
	b = e.text(b, keyVersion, req.Model.Version)
	if err == nil {
		b = e.text(b, keyCode, codeOK)
	} else {
		b = e.text(b, keyCode, err.Code.String())
		b = e.text(b, keyError, err.Message)
	}
	t := &req.Timing
	b = e.number(b, keyQueue, t.Queue.Microseconds())
	b = e.number(b, keyInput, t.Input.Microseconds())
	b = e.number(b, keyCompute, t.Compute.Microseconds())
	b = e.number(b, keyOutput, t.Output.Microseconds())
	b = e.number(b, keyTotal, now.Sub(t.Start).Microseconds())
	b = e.number(b, keyBatch, int64(t.Batch))
	if e.json {
		b = append(b, '}')
	}
	l.lines.finish(append(b, '\n'))
}

// encoder writes pairs as slog's text or JSON handler does.
type encoder struct{ json bool }

func (e encoder) key(b []byte, key string) []byte {
	if e.json {
		b = append(b, ',', '"')
		b = append(b, key...)
		return append(b, '"', ':')
	}
	b = append(b, ' ')
	b = append(b, key...)
	return append(b, '=')
}

func (e encoder) number(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(e.key(b, key), n, 10)
}

// text writes a pair whose value may be from outside: whatever is in it, it stays within its quotes and its line.
func (e encoder) text(b []byte, key, value string) []byte {
	b = e.key(b, key)
	if len(value) > longest {
		cut := longest
		for cut > longest-utf8.UTFMax && !utf8.RuneStart(value[cut]) {
			cut--
		}
		value = value[:cut]
	}
	if plain(value, e.json) {
		if e.json {
			b = append(b, '"')
			b = append(b, value...)
			return append(b, '"')
		}
		return append(b, value...)
	}
	if e.json {
		return appendJSON(b, value)
	}
	return strconv.AppendQuote(b, value)
}

// plain says whether value needs no escapes, and in a text line no quotes.
func plain(value string, json bool) bool {
	if value == "" {
		return json
	}
	for i := range len(value) {
		c := value[i]
		if c < ' ' || c > '~' || c == '"' || c == '\\' || !json && (c == ' ' || c == '=') {
			return false
		}
	}
	return true
}

// appendJSON writes a JSON string.
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // a byte that is no UTF-8 comes as U+FFFD
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029':
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
