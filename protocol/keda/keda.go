package keda

import (
	"context"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
	wire "serval/wire/keda"
)

// Protocol is the scaler. It is safe for concurrent use.
type Protocol struct {
	wire.UnimplementedExternalScalerServer
	b protocol.Backend

	mu    sync.Mutex // guards known
	known map[string]*answer
}

// answer is what a stream had to do a moment ago, so that many who ask ask its broker once.
type answer struct {
	ready chan struct{} // closed when what follows is set
	lag   int64
	err   error
	at    time.Time
}

// How old an answer may be, how long a broker may take for one, and how often it is looked whether to push another one.
const (
	fresh    = 500 * time.Millisecond
	patience = 2500 * time.Millisecond // KEDA itself waits for 3 s
	interval = 2 * time.Second
)

// The names of a trigger's metadata.
const (
	metaStream     = "stream"
	metaTarget     = "targetLag"
	metaActivation = "activationLag"
	metaKey        = "apiKey"
	metaKeyFromEnv = "apiKeyFromEnv" // KEDA puts the variable's value there
)

const defaultTarget = 1000

// New makes the scaler.
func New(b protocol.Backend) *Protocol { return &Protocol{b: b, known: map[string]*answer{}} }

// Name implements protocol.Protocol.
func (*Protocol) Name() string { return "keda" }

// Routes implements protocol.Protocol: there are none.
func (*Protocol) Routes() []protocol.Route { return nil }

// Register implements protocol.Protocol.
func (p *Protocol) Register(r grpc.ServiceRegistrar) { wire.RegisterExternalScalerServer(r, p) }

// Access says that the methods see to the key themselves: KEDA sends no credential but within the trigger's metadata.
func (*Protocol) Access(string) protocol.Access { return protocol.Public }

// trigger is what a ScaledObject asks for.
type trigger struct {
	stream             string
	target, activation float64
}

// read checks the caller's key and takes a trigger's metadata.
func (p *Protocol) read(ctx context.Context, ref *wire.ScaledObjectRef) (*trigger, error) {
	meta := ref.GetScalerMetadata()
	key := meta[metaKeyFromEnv]
	if key == "" {
		key = meta[metaKey]
	}
	if key == "" {
		key = protocol.CredentialFromContext(ctx)
	}
	if _, err := p.b.Caller(key); err != nil {
		if err.Code == serval.Unauthenticated {
			err = serval.Errorf(err.Code, "%s; in a trigger's metadata: apiKeyFromEnv, the name of a variable of the scaled container that holds one", err.Message)
		}
		return nil, protocol.Status(err).Err()
	}
	t := &trigger{stream: meta[metaStream], target: defaultTarget}
	if t.stream == "" {
		return nil, refuse(metaStream, "the trigger's metadata has no 'stream'; write the name of one of this server's streams")
	}
	for name, to := range map[string]*float64{metaTarget: &t.target, metaActivation: &t.activation} {
		text := strings.TrimSpace(meta[name])
		if text == "" {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || v < 0 || v > math.MaxInt64/2 || v == 0 && name == metaTarget {
			return nil, refuse(name, "the trigger's metadata has '%s' = %.40q; write a number of messages, such as 1000", name, text)
		}
		*to = v
	}
	return t, nil
}

func refuse(field, format string, args ...any) error {
	return protocol.Status(serval.Errorf(serval.InvalidArgument, format, args...).At(field)).Err()
}

// lag is what a stream has to do, as of this moment or shortly before.
func (p *Protocol) lag(ctx context.Context, stream string) (int64, error) {
	p.mu.Lock()
	a := p.known[stream]
	if a == nil || !a.at.IsZero() && time.Since(a.at) > fresh {
		if len(p.known) >= 1024 { // names come from outside
			clear(p.known)
		}
		a = &answer{ready: make(chan struct{})}
		p.known[stream] = a
		p.mu.Unlock()
		p.ask(context.WithoutCancel(ctx), stream, a) // others wait for it too
	} else {
		p.mu.Unlock()
	}
	select {
	case <-a.ready:
		if a.err != nil {
			return 0, protocol.Status(serval.AsError(a.err)).Err()
		}
		return a.lag, nil
	case <-ctx.Done():
		return 0, protocol.Status(serval.AsError(ctx.Err())).Err()
	}
}

// ask asks the stream; it ends within patience.
func (p *Protocol) ask(ctx context.Context, stream string, a *answer) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	lag, err := p.b.Streams.Backlog(ctx, stream)
	p.mu.Lock()
	a.lag, a.err, a.at = lag, err, time.Now()
	p.mu.Unlock()
	close(a.ready)
}

// IsActive says whether there is more to do than activationLag.
func (p *Protocol) IsActive(ctx context.Context, ref *wire.ScaledObjectRef) (*wire.IsActiveResponse, error) {
	t, err := p.read(ctx, ref)
	if err != nil {
		return nil, err
	}
	lag, err := p.lag(ctx, t.stream)
	if err != nil {
		return nil, err
	}
	return &wire.IsActiveResponse{Result: float64(lag) > t.activation}, nil
}

// StreamIsActive sends what IsActive says, at once and whenever it has changed. While it is not known nothing is sent.
func (p *Protocol) StreamIsActive(ref *wire.ScaledObjectRef, s grpc.ServerStreamingServer[wire.IsActiveResponse]) error {
	t, err := p.read(s.Context(), ref)
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for last, sent := false, false; ; {
		lag, err := p.lag(s.Context(), t.stream)
		switch now := float64(lag) > t.activation; {
		case err != nil && !sent: // a stream that is not there, say
			return err
		case err == nil && (!sent || now != last):
			if err := s.Send(&wire.IsActiveResponse{Result: now}); err != nil {
				return err
			}
			last, sent = now, true
		}
		select {
		case <-s.Context().Done():
			return s.Context().Err()
		case <-p.b.Stopping:
			return protocol.Status(serval.Errorf(serval.Unavailable, "the server is stopping")).Err()
		case <-tick.C:
		}
	}
}

// metric is the metric's name, as Kubernetes takes it.
func (t *trigger) metric() string {
	return "serval-stream-" + strings.Map(func(r rune) rune {
		if r == '.' || r == '_' {
			return '-'
		}
		return r
	}, strings.ToLower(t.stream))
}

// GetMetricSpec says which metric there is, and how much of it a replica is meant to have.
func (p *Protocol) GetMetricSpec(ctx context.Context, ref *wire.ScaledObjectRef) (*wire.GetMetricSpecResponse, error) {
	t, err := p.read(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &wire.GetMetricSpecResponse{MetricSpecs: []*wire.MetricSpec{{MetricName: t.metric(), TargetSize: int64(math.Ceil(t.target)), TargetSizeFloat: t.target}}}, nil
}

// GetMetrics is how much there is to do, for all replicas together.
func (p *Protocol) GetMetrics(ctx context.Context, req *wire.GetMetricsRequest) (*wire.GetMetricsResponse, error) {
	t, err := p.read(ctx, req.GetScaledObjectRef())
	if err != nil {
		return nil, err
	}
	if name := req.GetMetricName(); name != "" && !strings.EqualFold(name, t.metric()) {
		return nil, refuse("metricName", "there is no metric %.80q; the stream's is %q", name, t.metric())
	}
	lag, err := p.lag(ctx, t.stream)
	if err != nil {
		return nil, err
	}
	return &wire.GetMetricsResponse{MetricValues: []*wire.MetricValue{{MetricName: t.metric(), MetricValue: lag, MetricValueFloat: float64(lag)}}}, nil
}
