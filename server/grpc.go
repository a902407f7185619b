package server

import (
	"context"
	"crypto/tls"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"serval/protocol"
)

// maxStreams is how many calls one connection may have open. Each costs some 11 KiB before its message has come, and
// grpc-go waits for that without a limit.
const maxStreams = 4096

// grpcServer makes the gRPC port's server: the protocols' services, health and reflection.
func (s *Server) grpcServer(protocols []protocol.Protocol, certs *tls.Config) *grpc.Server {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(int(s.cfg.Limits.MaxBody)),
		grpc.MaxSendMsgSize(1<<31 - 1),
		grpc.InTapHandle(s.tap),
		grpc.UnaryInterceptor(s.recoverUnary),
		grpc.StreamInterceptor(s.recoverStream),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		// A client that is silent for idle_timeout is asked whether it is still there.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: s.cfg.Limits.IdleTimeout, Time: s.cfg.Limits.IdleTimeout, Timeout: s.cfg.Limits.HeaderTimeout,
		}),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(s.cfg.Limits.HeaderTimeout),
		// Workers keep their grown stacks from call to call.
		grpc.NumStreamWorkers(uint32(s.cores * 8)),
	}
	if certs != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(certs)))
	}
	for _, p := range protocols {
		if c, ok := p.(interface{ ServerOptions() []grpc.ServerOption }); ok {
			opts = append(opts, c.ServerOptions()...)
		}
	}
	g := grpc.NewServer(opts...)
	for _, p := range protocols {
		p.Register(g)
		if a, ok := p.(accessor); ok {
			s.accessors = append(s.accessors, a)
		}
	}
	grpc_health_v1.RegisterHealthServer(g, &health{server: s})
	reflection.Register(g)
	return g
}

// accessor is a protocol that has gRPC methods: it says who may call one.
type accessor interface {
	Access(fullMethod string) protocol.Access
}

// tap checks the key from the headers, before any message of the call is read.
func (s *Server) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	for _, a := range s.accessors {
		need, checked := accessOf(a.Access(info.FullMethodName))
		if !checked {
			continue
		}
		if err := s.gate.Authorize(protocol.CredentialFromMetadata(info.Header), need); err != nil {
			return nil, protocol.Status(err).Err()
		}
	}
	return ctx, nil
}

// A panic in a handler is that call's end and not the process's; net/http does the same for its own.
func (s *Server) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
	defer s.recovered(info.FullMethod, &err)
	return next(ctx, req)
}

func (s *Server) recoverStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer s.recovered(info.FullMethod, &err)
	return next(srv, stream)
}

func (s *Server) recovered(method string, err *error) {
	if p := recover(); p != nil {
		s.log.Error("a gRPC handler panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "internal error; the server's log has the cause")
	}
}

// health is grpc.health.v1: the server as a whole under the name "", and under the services' own names.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	server *Server
}

func (h *health) state() *grpc_health_v1.HealthCheckResponse {
	st := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if h.server.Ready() {
		st = grpc_health_v1.HealthCheckResponse_SERVING
	}
	return &grpc_health_v1.HealthCheckResponse{Status: st}
}

// Check answers for any service of this server.
func (h *health) Check(_ context.Context, req *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if !h.known(req.Service) {
		return nil, status.Errorf(codes.NotFound, "service %q is not served here", req.Service)
	}
	return h.state(), nil
}

func (h *health) known(service string) bool {
	if service == "" {
		return true
	}
	_, ok := h.server.grpc.GetServiceInfo()[service]
	return ok
}

// Watch sends the state at once and whenever it changed, looking once a second.
func (h *health) Watch(req *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := grpc_health_v1.HealthCheckResponse_ServingStatus(-1)
	for {
		now := h.state()
		if !h.known(req.Service) {
			now.Status = grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
		}
		if now.Status != last {
			if err := stream.Send(now); err != nil {
				return err
			}
			last = now.Status
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-h.server.stopping:
			return status.Error(codes.Unavailable, "the server is stopping")
		case <-tick.C:
		}
	}
}
