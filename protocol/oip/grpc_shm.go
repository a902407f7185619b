package oip

import (
	"context"

	"serval"
	"serval/wire/inference"
)

// SystemSharedMemoryStatus describes one region, or all of them.
func (s *service) SystemSharedMemoryStatus(ctx context.Context, r *inference.SystemSharedMemoryStatusRequest) (*inference.SystemSharedMemoryStatusResponse, error) {
	list, err := s.p.shm.status(r.Name)
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	out := &inference.SystemSharedMemoryStatusResponse{Regions: make(map[string]*inference.SystemSharedMemoryStatusResponse_RegionStatus, len(list))}
	for _, g := range list {
		out.Regions[g.Name] = &inference.SystemSharedMemoryStatusResponse_RegionStatus{Name: g.Name, Key: g.Key, Offset: g.Offset, ByteSize: g.Size}
	}
	return out, nil
}

// SystemSharedMemoryRegister makes a region known by a name.
func (s *service) SystemSharedMemoryRegister(ctx context.Context, r *inference.SystemSharedMemoryRegisterRequest) (*inference.SystemSharedMemoryRegisterResponse, error) {
	if s.p.opt.DisableSharedMemory {
		return nil, grpcError(ctx, serval.Errorf(serval.Unimplemented, "shared memory is switched off in this server's configuration (disable_shared_memory); send the tensors in the request"))
	}
	if err := s.p.shm.register(r.Name, r.Key, r.Offset, r.ByteSize); err != nil {
		return nil, grpcError(ctx, err)
	}
	return &inference.SystemSharedMemoryRegisterResponse{}, nil
}

// SystemSharedMemoryUnregister forgets a region, or all of them.
func (s *service) SystemSharedMemoryUnregister(_ context.Context, r *inference.SystemSharedMemoryUnregisterRequest) (*inference.SystemSharedMemoryUnregisterResponse, error) {
	s.p.shm.unregister(r.Name)
	return &inference.SystemSharedMemoryUnregisterResponse{}, nil
}

// CudaSharedMemoryStatus knows of no regions, since none can be registered.
func (s *service) CudaSharedMemoryStatus(ctx context.Context, r *inference.CudaSharedMemoryStatusRequest) (*inference.CudaSharedMemoryStatusResponse, error) {
	if r.Name != "" {
		return nil, grpcError(ctx, noRegion(r.Name))
	}
	return &inference.CudaSharedMemoryStatusResponse{}, nil
}

// CudaSharedMemoryRegister is refused: CUDA's shared memory lies on the GPU, and this server takes tensors in main memory.
func (s *service) CudaSharedMemoryRegister(ctx context.Context, _ *inference.CudaSharedMemoryRegisterRequest) (*inference.CudaSharedMemoryRegisterResponse, error) {
	return nil, grpcError(ctx, errCudaMemory())
}

// CudaSharedMemoryUnregister does nothing, as for any region that is not registered: clients call it to clean up.
func (s *service) CudaSharedMemoryUnregister(context.Context, *inference.CudaSharedMemoryUnregisterRequest) (*inference.CudaSharedMemoryUnregisterResponse, error) {
	return &inference.CudaSharedMemoryUnregisterResponse{}, nil
}

func errCudaMemory() error {
	return serval.Errorf(serval.Unimplemented, "CUDA shared memory is not supported: this server takes tensors from main memory; use system shared memory, or send them in the request")
}
