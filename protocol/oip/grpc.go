package oip

import (
	"context"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
	"serval/wire/inference"
)

// service answers inference.GRPCInferenceService, with Triton's methods, and KServe's fields where the two differ.
type service struct {
	inference.UnimplementedGRPCInferenceServiceServer
	p    *Protocol
	pool sync.Pool // of *grpcCall
}

// take gets a call for the next message.
func (s *service) take() *grpcCall {
	if c, ok := s.pool.Get().(*grpcCall); ok {
		return c
	}
	return &grpcCall{p: s.p}
}

// put gives a call back. Nothing of it may be in use.
func (s *service) put(c *grpcCall) {
	c.message.reset()
	c.call.reset()
	c.call.copied, c.call.text = fit(c.call.copied), fit(c.call.text)
	c.reply = nil
	s.pool.Put(c)
}

// Register adds the service. The server must have been made with ServerOptions.
func (p *Protocol) Register(r grpc.ServiceRegistrar) {
	s := &service{p: p}
	desc := inference.GRPCInferenceService_ServiceDesc
	desc.Methods = slices.Clone(desc.Methods)
	for i := range desc.Methods {
		if desc.Methods[i].MethodName == "ModelInfer" {
			desc.Methods[i].Handler = s.modelInfer
		}
	}
	desc.Streams = slices.Clone(desc.Streams)
	for i := range desc.Streams {
		if desc.Streams[i].StreamName == "ModelStreamInfer" {
			desc.Streams[i].Handler = s.modelStreamInfer
		}
	}
	r.RegisterService(&desc, s)
}

// ServerOptions are what the gRPC server must be made with: the codec by which inference reads and writes the wire itself.
// The codings that clients compress with are registered on the way.
func (p *Protocol) ServerOptions() []grpc.ServerOption {
	protocol.RegisterCodings()
	return []grpc.ServerOption{grpc.ForceServerCodecV2(protocol.Codec())}
}

// Access says who may call a method of the service, by its full name. A method of another service is not this protocol's
// to guard; one of this service that is not known here is for those who may change things.
func (p *Protocol) Access(fullMethod string) protocol.Access {
	name, ours := strings.CutPrefix(fullMethod, "/"+inference.GRPCInferenceService_ServiceDesc.ServiceName+"/")
	if !ours {
		return protocol.Public
	}
	switch name {
	case "ServerLive", "ServerReady":
		return protocol.Public
	case "ModelInfer", "ModelStreamInfer":
		return protocol.Infer
	case "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics", "RepositoryIndex",
		"SystemSharedMemoryStatus", "CudaSharedMemoryStatus":
		return protocol.Read
	}
	return protocol.Control
}

// ServerLive says that the process answers.
func (s *service) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

// ServerReady says whether the server takes requests.
func (s *service) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	ready := s.p.backend.Models.Ready() && (s.p.backend.Draining == nil || !s.p.backend.Draining())
	return &inference.ServerReadyResponse{Ready: ready}, nil
}

// ModelReady says whether a version of a model takes requests; one that does not exist is not ready.
func (s *service) ModelReady(ctx context.Context, r *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	info, err := s.model(r.Name, r.Version)
	if err != nil {
		if e := serval.AsError(err); e.Code == serval.NotFound || e.Code == serval.Unavailable {
			return &inference.ModelReadyResponse{}, nil
		}
		return nil, grpcError(ctx, err)
	}
	return &inference.ModelReadyResponse{Ready: info.State == serval.StateReady}, nil
}

func (s *service) model(name, version string) (serval.ModelInfo, error) {
	ref, err := modelRef(name, version)
	if err != nil {
		return serval.ModelInfo{}, err
	}
	return s.p.backend.Models.Model(ref)
}

// ServerMetadata names the server and what it can do.
func (s *service) ServerMetadata(context.Context, *inference.ServerMetadataRequest) (*inference.ServerMetadataResponse, error) {
	return &inference.ServerMetadataResponse{Name: serverName, Version: s.p.backend.Version, Extensions: s.p.extensions()}, nil
}

// ModelMetadata describes a model's inputs and outputs.
func (s *service) ModelMetadata(ctx context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	info, err := s.model(r.Name, r.Version)
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	m := &inference.ModelMetadataResponse{Name: info.Name, Versions: info.Versions, Platform: info.Platform}
	m.Inputs = tensorMetadata(info.Signature.Inputs)
	m.Outputs = tensorMetadata(info.Signature.Outputs)
	return m, nil
}

func tensorMetadata(list []serval.TensorInfo) []*inference.ModelMetadataResponse_TensorMetadata {
	out := make([]*inference.ModelMetadataResponse_TensorMetadata, len(list))
	for i := range list {
		t := &list[i]
		shape := t.Shape
		if shape == nil {
			shape = []int64{-1}
		}
		out[i] = &inference.ModelMetadataResponse_TensorMetadata{Name: t.Name, Datatype: t.DType.String(), Shape: shape}
	}
	return out
}

// ModelConfig says how a model is served.
func (s *service) ModelConfig(ctx context.Context, r *inference.ModelConfigRequest) (*inference.ModelConfigResponse, error) {
	info, err := s.model(r.Name, r.Version)
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	return &inference.ModelConfigResponse{Config: modelConfig(info)}, nil
}

// ModelStatistics says what happened to one version, to all versions of a model, or to all models.
func (s *service) ModelStatistics(ctx context.Context, r *inference.ModelStatisticsRequest) (*inference.ModelStatisticsResponse, error) {
	infos, err := s.p.infos(r.Name, r.Version)
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	out := &inference.ModelStatisticsResponse{}
	for _, info := range infos {
		stats, err := s.p.backend.Models.Stats(serval.Ref{Name: info.Name, Version: info.Version})
		switch {
		case err == nil:
			out.ModelStats = append(out.ModelStats, modelStatistics(info, stats))
		case r.Name != "": // of all models, one may have been unloaded since
			return nil, grpcError(ctx, err)
		}
	}
	return out, nil
}
