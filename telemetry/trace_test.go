package telemetry

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"serval"
)

// receiver keeps the spans that reach it.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu      sync.Mutex
	spans   []*wire.Span
	service string
	header  string
}

func (r *receiver) take(in *collector.ExportTraceServiceRequest, header string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header = header
	for _, resource := range in.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				r.service = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
}

// Export is OTLP over gRPC.
func (r *receiver) Export(ctx context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	r.take(in, strings.Join(md["x-key"], ""))
	return &collector.ExportTraceServiceResponse{}, nil
}

// ServeHTTP is OTLP over HTTP.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var in collector.ExportTraceServiceRequest
	if err != nil || req.URL.Path != "/v1/traces" || proto.Unmarshal(body, &in) != nil {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	r.take(&in, req.Header.Get("X-Key"))
	out, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(out)
}

func TestTraces(t *testing.T) {
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			r := &receiver{}
			var endpoint string
			if protocol == "http" {
				s := httptest.NewServer(r)
				defer s.Close()
				endpoint = s.URL
			} else {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				s := grpc.NewServer()
				collector.RegisterTraceServiceServer(s, r)
				ended := make(chan error)
				go func() { ended <- s.Serve(listener) }()
				defer func() { s.Stop(); <-ended }()
				endpoint = listener.Addr().String()
			}
			m, err := New(Options{Version: "1", Traces: TraceOptions{Endpoint: endpoint, Protocol: protocol, Sample: 1, Insecure: true, Headers: map[string]string{"x-key": "k"}}})
			if err != nil {
				t.Fatal(err)
			}
			req := timedRequest(time.Now())
			req.Trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
			m.Done(req, serval.Errorf(serval.Internal, "broken"))
			req.Trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00" // the caller does not want it
			m.Done(req, nil)
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			r.check(t)
			if m.traces.sent.Load() != 5 || m.traces.lost.Load() != 0 {
				t.Errorf("sent %d, lost %d", m.traces.sent.Load(), m.traces.lost.Load())
			}
		})
	}
}

func (r *receiver) check(t *testing.T) {
	t.Helper()
	byName := map[string]*wire.Span{}
	for _, s := range r.spans {
		byName[s.Name] = s
	}
	root := byName["request"]
	if len(r.spans) != 5 || root == nil || r.service != "serval" || r.header != "k" {
		t.Fatalf("%d spans %v of service %q, header %q", len(r.spans), byName, r.service, r.header)
	}
	if got := hexText(root.TraceId) + " " + hexText(root.ParentSpanId); got != "4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7" {
		t.Errorf("the trace and its parent are %s", got)
	}
	if root.Status.GetCode() != wire.Status_STATUS_CODE_ERROR || root.Kind != wire.Span_SPAN_KIND_SERVER {
		t.Errorf("status %v, kind %v", root.Status, root.Kind)
	}
	attributes := map[string]string{}
	for _, a := range root.Attributes {
		attributes[a.Key] = a.Value.GetStringValue()
	}
	if attributes["serval.model.name"] != "credit" || attributes["serval.request.id"] != "0123-7" || attributes["serval.code"] != "internal" {
		t.Errorf("attributes %v", attributes)
	}
	at := root.StartTimeUnixNano
	for _, step := range []struct {
		name string
		took time.Duration
	}{{"queue", 2 * time.Millisecond}, {"input", 10 * time.Microsecond}, {"compute", 1234 * time.Microsecond}, {"output", 5 * time.Microsecond}} {
		s := byName[step.name]
		if s == nil || !bytes.Equal(s.ParentSpanId, root.SpanId) || s.StartTimeUnixNano != at || s.EndTimeUnixNano-at != uint64(step.took) {
			t.Fatalf("step %s: %v", step.name, s)
		}
		at = s.EndTimeUnixNano
	}
}

func hexText(b []byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&15])
	}
	return string(s)
}

func TestLostReceiverIsLoggedOnce(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	var out bytes.Buffer
	l, err := OpenLog(LogOptions{To: &out})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Options{Log: l, Traces: TraceOptions{Endpoint: s.URL, Sample: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m.Done(timedRequest(time.Now()), nil)
		m.traces.provider.ForceFlush(context.Background())
	}
	m.Close()
	l.Close()
	if strings.Count(out.String(), "traces cannot be sent") != 1 || m.traces.lost.Load() != 10 {
		t.Errorf("lost %d, logged:\n%s", m.traces.lost.Load(), out.String())
	}
}

func TestSampling(t *testing.T) {
	r := &receiver{}
	s := httptest.NewServer(r)
	defer s.Close()
	m, err := New(Options{Traces: TraceOptions{Endpoint: s.URL, Sample: 0}})
	if err != nil {
		t.Fatal(err)
	}
	req := timedRequest(time.Now())
	req.Timing.Queue, req.Timing.Input, req.Timing.Compute, req.Timing.Output = 0, 0, 0, 0
	for range 100 {
		m.Done(req, nil) // share 0: never
	}
	if _, err := m.Tracing().Set("", map[string]any{"trace_rate": "1", "trace_count": "3"}); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		m.Done(req, nil) // all, but three at most
	}
	if got := m.Tracing().Get("")["trace_count"]; got != "0" {
		t.Errorf("trace_count is %v", got)
	}
	if _, err := m.Tracing().Set("", map[string]any{"trace_level": []string{"OFF"}, "trace_count": nil}); err != nil {
		t.Fatal(err)
	}
	m.Done(req, nil) // off
	m.Close()
	if len(r.spans) != 3 {
		t.Errorf("%d spans", len(r.spans))
	}
}

func TestTraceSettings(t *testing.T) {
	off, err := newTraces(TraceOptions{}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"trace_file": "", "trace_rate": "0", "trace_count": "-1", "log_frequency": "0", "trace_mode": "opentelemetry"}
	got := off.Get("")
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	if level := got["trace_level"].([]string); len(level) != 1 || level[0] != "OFF" {
		t.Errorf("trace_level is %v", level)
	}
	for _, bad := range []map[string]any{
		{"trace_level": []any{"TIMESTAMPS"}},
		{"trace_level": "TENSORS"},
		{"trace_level": []any{1.0}},
		{"trace_level": []string{}},
		{"trace_rate": "-1"},
		{"trace_rate": 1.5},
		{"trace_count": "-2"},
		{"trace_file": "/etc/passwd"},
		{"trace_mode": "triton"},
		{"log_frequency": "10"},
		{"frequency": "10"},
	} {
		_, err := off.Set("", bad)
		if e, ok := err.(*serval.Error); !ok || e.Code != serval.InvalidArgument || e.Param == "" {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := off.Set("credit", map[string]any{"trace_rate": "1"}); err == nil {
		t.Error("a setting of one model was taken")
	}
	got, err = off.Set("", map[string]any{"trace_rate": []string{"500"}, "trace_level": []string{"OFF"}, "trace_mode": []string{"opentelemetry"}, "trace_file": "", "log_frequency": "0"})
	if err != nil || got["trace_rate"] != "500" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = off.Set("", map[string]any{"trace_rate": nil, "trace_level": nil}); err != nil || got["trace_rate"] != "0" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTraceparent(t *testing.T) {
	for text, ok := range map[string]bool{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":      true,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more": true,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more": false,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more":  false,
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":      false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":      false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01":      false,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01":      false,
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01":      false,
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":      false,
		"": false, "00": false,
	} {
		if _, got := parseTraceparent(text); got != ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what the future will be like")
	f.Fuzz(func(t *testing.T, s string) {
		if c, ok := parseTraceparent(s); ok && (!c.IsValid() || !strings.HasPrefix(s[3:], c.TraceID().String()+"-"+c.SpanID().String())) {
			t.Errorf("%q was read as %v", s, c)
		}
	})
}
