package server

import (
	"context"
	"crypto/tls"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"serval/protocol"
)

// grpcServer makes the gRPC port's server: the protocols' services, health and reflection.
func (s *Server) grpcServer(protocols []protocol.Protocol, certs *tls.Config) *grpc.Server {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(int(s.cfg.Limits.MaxBody)),
		grpc.MaxSendMsgSize(1<<31 - 1),
		grpc.UnaryInterceptor(s.checkUnary),
		grpc.StreamInterceptor(s.checkStream),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: s.cfg.Limits.IdleTimeout}),
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

func (s *Server) checkUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.checkMethod(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (s *Server) checkStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.checkMethod(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, stream)
}

func (s *Server) checkMethod(ctx context.Context, method string) error {
	for _, a := range s.accessors {
		need, checked := accessOf(a.Access(method))
		if !checked {
			continue
		}
		if err := s.gate.Authorize(protocol.CredentialFromContext(ctx), need); err != nil {
			return protocol.Status(err).Err()
		}
	}
	return nil
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
