package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"serval"
)

const (
	sendTimeout  = 10 * time.Second // for one batch of spans
	closeTimeout = 5 * time.Second
)

// TraceOptions say where traces go. Without an Endpoint there are none.
type TraceOptions struct {
	Endpoint string            // host:port or a URL
	Protocol string            // http or grpc; "": http
	Sample   float64           // share of the requests, from 0 to 1, where the caller does not say
	Headers  map[string]string // sent along, such as a key
	Insecure bool              // without TLS, for host:port
}

// Traces makes OpenTelemetry spans of requests that have ended: one for the request and one for each step. A caller's
// traceparent decides whether its request is traced, else chance does. Spans wait in a bounded queue of the SDK; nothing
// on a request's path waits for the receiver.
type Traces struct {
	provider *sdk.TracerProvider // nil: no receiver is configured
	tracer   trace.Tracer
	start    traceState // as configured

	state atomic.Pointer[traceState] // never nil
	mu    sync.Mutex                 // held to change state
	left  atomic.Int64               // spans that may still be made where the state is counted

	sent, lost atomic.Uint64
}

// traceState is what clients may change.
type traceState struct {
	on      bool
	share   float64 // of the requests
	counted bool    // Traces.left bounds how many follow
}

func newTraces(o TraceOptions, version string, log *slog.Logger) (*Traces, error) {
	t := &Traces{}
	if o.Endpoint != "" {
		exporter, err := newExporter(o)
		if err != nil {
			return nil, fmt.Errorf("traces.endpoint %q: %w", o.Endpoint, err)
		}
		t.start = traceState{on: true, share: o.Sample}
		t.provider = sdk.NewTracerProvider(
			sdk.WithSampler(sdk.AlwaysSample()), // request decides before it makes a span
			sdk.WithBatcher(&sender{SpanExporter: exporter, traces: t, log: log}),
			sdk.WithResource(resource.NewSchemaless(
				attribute.String("service.name", "serval"), attribute.String("service.version", version))),
		)
		t.tracer = t.provider.Tracer("serval")
	}
	t.state.Store(&t.start)
	return t, nil
}

// newExporter makes the exporter; it connects later.
func newExporter(o TraceOptions) (sdk.SpanExporter, error) {
	endpoint, insecure, path := o.Endpoint, o.Insecure, ""
	if strings.Contains(endpoint, "://") {
		u, err := url.Parse(endpoint)
		if err != nil {
			return nil, err
		}
		endpoint, insecure, path = u.Host, u.Scheme == "http", u.Path
	}
	// What is given here wins over the OTEL_ variables, which the exporters read by themselves.
	if o.Protocol == "grpc" {
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithHeaders(o.Headers), otlptracegrpc.WithTimeout(sendTimeout)}
		if insecure {
			options = append(options, otlptracegrpc.WithInsecure())
		}
		return otlptracegrpc.New(context.Background(), options...)
	}
	if strings.Trim(path, "/") == "" {
		path = "/v1/traces"
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpoint(endpoint), otlptracehttp.WithURLPath(path),
		otlptracehttp.WithHeaders(o.Headers), otlptracehttp.WithTimeout(sendTimeout)}
	if insecure {
		options = append(options, otlptracehttp.WithInsecure())
	}
	return otlptracehttp.New(context.Background(), options...)
}

// sender counts the spans and logs when the receiver is lost and found, rather than for every batch.
type sender struct {
	sdk.SpanExporter
	traces *Traces
	log    *slog.Logger
	failed bool // only ExportSpans uses it, and its calls do not overlap
}

// ExportSpans implements the SDK's SpanExporter. It returns no error: the SDK would write it to a log of its own.
func (s *sender) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := s.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		s.traces.lost.Add(uint64(len(spans)))
		if !s.failed {
			s.log.Warn("traces cannot be sent and are dropped until the receiver answers; see traces.endpoint in serval.yaml", "error", err)
		}
	} else {
		s.traces.sent.Add(uint64(len(spans)))
		if s.failed {
			s.log.Info("traces are sent again")
		}
	}
	s.failed = err != nil
	return nil
}

// request makes the spans of one request.
func (t *Traces) request(req *serval.Request, err *serval.Error, now time.Time) {
	state := t.state.Load()
	if !state.on {
		return
	}
	ctx := context.Background()
	if parent, ok := parseTraceparent(req.Trace); ok {
		if !parent.IsSampled() {
			return
		}
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	} else if state.share < 1 && rand.Float64() >= state.share {
		return
	}
	if state.counted && t.left.Add(-1) < 0 {
		return
	}
	code := codeOK
	if err != nil {
		code = err.Code.String()
	}
	start := req.Timing.Start
	ctx, span := t.tracer.Start(ctx, spanRequest, trace.WithTimestamp(start), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String(attributeID, utf8Text(req.ID)),
		attribute.String(attributeTenant, utf8Text(req.Tenant)),
		attribute.String(attributeProtocol, req.Protocol),
		attribute.String(attributeModel, utf8Text(req.Model.Name)),
		attribute.String(attributeVersion, utf8Text(req.Model.Version)),
		attribute.String(attributeCode, code),
		attribute.Int(attributeBatch, req.Timing.Batch),
	))
	// The steps follow each other; what lies between them takes microseconds and is left out.
	for _, step := range [...]struct {
		name string
		took time.Duration
	}{{spanQueue, req.Timing.Queue}, {spanInput, req.Timing.Input}, {spanCompute, req.Timing.Compute}, {spanOutput, req.Timing.Output}} {
		if step.took <= 0 {
			continue
		}
		_, child := t.tracer.Start(ctx, step.name, trace.WithTimestamp(start))
		start = start.Add(step.took)
		child.End(trace.WithTimestamp(start))
	}
	if err != nil && err.Code.HTTPStatus() >= 500 { // a caller's mistake is no fault of this span
		span.SetStatus(codes.Error, utf8Text(err.Message))
	}
	span.End(trace.WithTimestamp(now))
}

// utf8Text is s as OTLP takes it, copied: spans outlive the request.
func utf8Text(s string) string { return label(s) }

// close sends what waits and ends the SDK's goroutine.
func (t *Traces) close() error {
	if t.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// rate is Triton's trace_rate: one request in so many; 0: only those whose caller asks.
func (s traceState) rate() int64 {
	if s.share <= 0 {
		return 0
	}
	return int64(math.Round(1 / s.share))
}
