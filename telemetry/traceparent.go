package telemetry

import (
	"encoding/hex"

	"go.opentelemetry.io/otel/trace"
)

// parseTraceparent reads a W3C traceparent: version, trace id, parent id and flags in lower-case hexadecimal with hyphens
// between them. Higher versions may go on after the flags (W3C Trace Context, §3.2.2 and §4.3).
func parseTraceparent(s string) (trace.SpanContext, bool) {
	const size = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return trace.SpanContext{}, false
	}
	var version, flags [1]byte
	var c trace.SpanContextConfig
	for _, part := range [...]struct {
		to   []byte
		from string
	}{{version[:], s[:2]}, {c.TraceID[:], s[3:35]}, {c.SpanID[:], s[36:52]}, {flags[:], s[53:size]}} {
		for i := range len(part.from) {
			if 'A' <= part.from[i] && part.from[i] <= 'F' {
				return trace.SpanContext{}, false
			}
		}
		if _, err := hex.Decode(part.to, []byte(part.from)); err != nil {
			return trace.SpanContext{}, false
		}
	}
	if version[0] == 0xff || version[0] == 0 && len(s) > size || len(s) > size && s[size] != '-' {
		return trace.SpanContext{}, false
	}
	c.TraceFlags, c.Remote = trace.TraceFlags(flags[0])&trace.FlagsSampled, true
	parent := trace.NewSpanContext(c)
	return parent, parent.IsValid()
}
