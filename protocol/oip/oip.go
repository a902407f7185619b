package oip

import (
	"sync"

	"serval/protocol"
)

// Options are what the configuration may set of this protocol. The zero value is the default.
type Options struct {
	DisableSharedMemory bool `yaml:"disable_shared_memory" doc:"refuse to register system shared memory; clients on this machine then send their tensors"`
	DisableCompression  bool `yaml:"disable_compression" doc:"never compress an answer, whatever Accept-Encoding asks for"`
}

// Protocol is the Open Inference Protocol with Triton's extensions, over REST (Routes) and gRPC (Register). It is safe for
// concurrent use.
type Protocol struct {
	backend protocol.Backend
	opt     Options
	shm     *regions
	pool    sync.Pool // of *exchange: one REST infer request
	bodies  protocol.Bodies
}

var _ protocol.Protocol = (*Protocol)(nil)

// New makes the protocol. The Backend's Handler, Models and Control must be set.
func New(backend protocol.Backend, opt Options) *Protocol {
	p := &Protocol{backend: backend, opt: opt, shm: newRegions()}
	p.pool.New = func() any { return newExchange(p) }
	return p
}

// Name is "oip".
func (p *Protocol) Name() string { return "oip" }
