package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"serval"
	"serval/batch"
	"serval/config"
	"serval/engine"
	"serval/gateway"
	"serval/protocol"
	protocols "serval/protocol/all"
	"serval/registry"
	"serval/registry/source"
	"serval/route"
	"serval/telemetry"
)

// Options are what New needs beside the configuration.
type Options struct {
	Config  *config.Config
	Engines []engine.Engine
	Cores   int    // threads that models may use together
	Version string // of this build
	Log     *telemetry.Log
	// ProbeExe is the program whose ProbeCommand loads unknown artefacts first; "" loads them in this process at once.
	ProbeExe   string
	ProbeFlags []string
	// Puller fetches models for clients; nil: it is the operator alone who fetches them.
	Puller *source.Puller
	// Env finds the environment variables that definitions of streams name which come through the control API; nil: streams
	// that were made through it before are left alone.
	Env config.Lookup
}

// Server is a running Serval. New builds it, Start listens and loads, Stop drains. Its methods are safe for concurrent use.
type Server struct {
	cfg       *config.Config
	cores     int
	log       *slog.Logger
	models    *registry.Registry
	probe     *prober // nil: unknown artefacts are not tried in a child
	gate      *gateway.Gateway
	handler   serval.Handler
	pace      *batch.Pace // of all jobs, batches of requests and background streams
	http      *http.Server
	grpc      *grpc.Server
	admin     *http.Server
	accessors []accessor
	// crossOrigin and loopback keep web pages out of a server that asks for no keys; see foreign.
	crossOrigin *http.CrossOriginProtection
	loopback    bool
	version     string
	watch       *telemetry.Telemetry
	stopped     atomic.Bool     // Stop was called
	draining    atomic.Bool     // and the ports are closed
	stopping    <-chan struct{} // life's
	life        context.Context // of loads that clients ask for
	end         context.CancelFunc
	serving     chan error // one for each listener that ended
	ports       []*port    // HTTP's, gRPC's if there is one, and the admin's
	addr        Addresses

	state   state // nil: there is no data folder
	jobs    *jobs // nil: there is no state
	streams *Streams
	workers []protocol.Worker
	working sync.WaitGroup // their goroutines

	loaded     chan struct{} // closed when Load has ended once
	loadedOnce sync.Once
	polled     chan struct{} // closed when nothing follows the folders any more
}

// Addresses are where a started server listens; "" where it does not.
type Addresses struct{ HTTP, GRPC, Admin string }

// New builds a server from its configuration; nothing listens yet.
func New(opt Options) (*Server, error) {
	cfg := opt.Config
	s := &Server{cfg: cfg, version: opt.Version, cores: max(1, opt.Cores), log: opt.Log.Logger(), serving: make(chan error, 3), loaded: make(chan struct{}), polled: make(chan struct{})}
	s.life, s.end = context.WithCancel(context.Background())
	s.stopping = s.life.Done()
	l := &loader{engines: opt.Engines, cores: s.cores}
	if opt.ProbeExe != "" {
		var err error
		if l.probe, err = newProber(opt.ProbeExe, filepath.Join(cfg.DataDir, "probed.json"), opt.ProbeFlags, cfg.Engines, s.log); err != nil {
			return nil, err
		}
		s.probe = l.probe
	}
	var err error
	if l.apart, err = newIsolation(&opt, s.cores, s.log); err != nil {
		return nil, err
	}
	files := &reader{engines: opt.Engines, name: cfg.ModelName, log: s.log}
	s.models = registry.New(registry.Options{
		Roots: cfg.ModelDirs, Settings: cfg.Models, Read: files.read, Name: files.named, Alone: files.alone, Version: files.version,
		Merge: merge, Loader: l, Parallel: s.cores, Log: s.log,
	})
	policy, err := policyOf(cfg, s.log)
	if err != nil {
		return nil, err
	}
	if s.watch, err = telemetry.New(s.watchOptions(opt)); err != nil {
		return nil, err
	}
	s.handler, s.gate = chain(s.models, policy, s.watch)
	s.pace = &batch.Pace{Quiet: s.gate.Quiet, Online: s.gate.Online}
	control := &repository{s.models, s.life, cfg.ModelControl.Mode, s.log}
	backend := protocol.Backend{
		Handler: s.handler, Models: &modelView{s.models, s}, Config: protocol.Limits{MaxBody: int64(cfg.Limits.MaxBody)}, Version: opt.Version,
		Control: control, Puller: newPulling(control, opt.Puller, files, cfg.ModelDirs), Logging: opt.Log, Tracing: s.watch.Tracing(), Draining: s.draining.Load, Stopping: s.stopping,
		Caller: s.gate.Caller, Tenant: s.gate.Tenant, Admit: s.gate.Admit, As: func(tenant string) serval.Handler { return route.Resolve(s.models, s.gate.As(tenant)) },
	}
	if s.state, err = s.openState(); err != nil {
		return nil, err
	}
	if s.state != nil {
		backend.Responses = s.state
		s.jobs = s.newJobs()
		s.workers = append(s.workers, s.jobs.worker)
		if err := s.newRequests(&backend); err != nil {
			return nil, err
		}
	}
	if s.streams, err = s.streamsOf(backend.As, opt.Env); err != nil {
		return nil, err
	}
	backend.Streams = s.streams
	s.watch.WatchStreams(s.streams)
	s.watch.WatchComparisons(s.streams)
	all := protocols.New(backend)
	for _, p := range all {
		if w, ok := p.(protocol.Worker); ok {
			s.workers = append(s.workers, w)
		}
	}
	s.crossOrigin, s.loopback = http.NewCrossOriginProtection(), onLoopback(cfg.Listen)
	certs, err := certificates(cfg.TLS)
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler: s.mount(all), TLSConfig: certs, ReadHeaderTimeout: cfg.Limits.HeaderTimeout, ReadTimeout: cfg.Limits.BodyTimeout,
		IdleTimeout: cfg.Limits.IdleTimeout, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	if cfg.GRPC != "" {
		s.grpc = s.grpcServer(all, certs)
	}
	if cfg.Admin != "" {
		s.admin = &http.Server{Handler: s.adminRoutes(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	}
	return s, nil
}

// modelView is what protocols see of the models: a server that drains is not ready.
type modelView struct {
	*registry.Registry
	server *Server
}

func (v *modelView) Ready() bool { return v.server.Ready() }

// repository is what protocols may change, without the client's power to cancel a load half way; the server's end does.
type repository struct {
	models *registry.Registry
	life   context.Context
	mode   string // of model_control
	log    *slog.Logger
}

// allowed says whether clients may load and unload in the mode that was asked for.
func (r *repository) allowed() error {
	switch r.mode {
	case "none", "poll":
		return serval.Errorf(serval.Unavailable, "explicit model load / unload is not allowed: model_control.mode is %s; start the server with --model-control explicit, or without the flag", r.mode)
	}
	return nil
}

func (r *repository) Load(ctx context.Context, name string, override *serval.ModelSettings) error {
	if err := r.allowed(); err != nil {
		return err
	}
	if override != nil {
		if err := config.CheckModel(override, "parameters.config"); err != nil {
			return serval.Errorf(serval.InvalidArgument, "%v", err)
		}
		for _, note := range override.Notes {
			r.log.Warn("a setting of a load request has no effect", "model", name, "setting", note)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	return r.models.Load(ctx, name, override)
}

func (r *repository) Unload(ctx context.Context, name string) error {
	if err := r.allowed(); err != nil {
		return err
	}
	return r.models.Unload(context.WithoutCancel(ctx), name)
}

// Handler is the chain itself, for callers in this process.
func (s *Server) Handler() serval.Handler { return s.handler }

// Models is what the server knows of its models.
func (s *Server) Models() protocol.Models { return &modelView{s.models, s} }

// Ready says whether requests are taken and every model that should be served is.
func (s *Server) Ready() bool { return !s.draining.Load() && s.models.Ready() }

// Addresses says where the server listens, once Start returned.
func (s *Server) Addresses() Addresses { return s.addr }

// Load loads all models, or those that model_control names. Those that fail are listed with their reason, and are in the
// error.
func (s *Server) Load(ctx context.Context) error {
	defer s.loadedOnce.Do(func() { close(s.loaded) })
	if c := s.cfg.ModelControl; c.Mode == "explicit" && !slices.Equal(c.Load, []string{"*"}) {
		return s.models.LoadNamed(ctx, c.Load)
	}
	return s.models.LoadAll(ctx)
}

// Progress says how many models Load was asked for, and how many of them are loaded or have failed.
func (s *Server) Progress() (done, of int) { return s.models.Progress() }

// poll follows the models folders from the first load on until the server stops.
func (s *Server) poll() {
	defer close(s.polled)
	select {
	case <-s.loaded:
		s.models.Poll(s.life, s.cfg.ModelControl.Poll)
	case <-s.stopping:
	}
}

// LoadModel loads one model by name, or loads it anew.
func (s *Server) LoadModel(ctx context.Context, name string) error {
	return s.models.Load(ctx, name, nil)
}

// Start opens the ports. Models may be loaded before or after; until then the server is not ready.
func (s *Server) Start() error {
	serves := []func(net.Listener) error{s.serveHTTP}
	addrs, to := []string{s.cfg.Listen}, []*string{&s.addr.HTTP}
	if s.grpc != nil {
		serves, addrs, to = append(serves, s.grpc.Serve), append(addrs, s.cfg.GRPC), append(to, &s.addr.GRPC)
	}
	if s.admin != nil {
		serves, addrs, to = append(serves, s.admin.Serve), append(addrs, s.cfg.Admin), append(to, &s.addr.Admin)
	}
	var opened []*port
	for i, addr := range addrs {
		p, err := openPort(addr, s.cfg.Limits)
		if err != nil {
			for _, p := range opened {
				_ = p.Close()
			}
			if errors.Is(err, syscall.EADDRINUSE) {
				return fmt.Errorf("listen on %s: another program has that port; stop it, or choose others with --listen, --grpc and --admin", addr)
			}
			return fmt.Errorf("listen on %s: %w", addr, err)
		}
		*to[i] = p.Addr().String()
		opened = append(opened, p)
	}
	s.ports = opened
	if s.cfg.ModelControl.Mode == "poll" {
		go s.poll()
	} else {
		close(s.polled)
	}
	for _, w := range s.workers {
		s.working.Go(func() {
			select {
			case <-s.loaded:
				w.Run(s.life)
			case <-s.stopping:
			}
		})
	}
	s.working.Go(func() {
		select {
		case <-s.loaded:
			s.streams.run()
		case <-s.stopping:
		}
		s.streams.wait()
	})
	for i, serve := range serves {
		go func() { // Stop waits for each
			s.serving <- serve(opened[i])
			close(opened[i].ended)
		}()
	}
	return nil
}

func (s *Server) serveHTTP(l net.Listener) error {
	if s.http.TLSConfig != nil {
		return s.http.ServeTLS(l, "", "")
	}
	return s.http.Serve(l)
}

// drainGrace is how long connections are kept after the server began to drain, so that clients that keep them alive learn
// of it from an answer and not from a reset.
const drainGrace = 300 * time.Millisecond

// Stop drains: the server is not ready any more, answers what is under way, and closes. It returns nil if all was answered
// within the configuration's drain_timeout; after another error than that of a second Stop, calls may still be inside
// models, and the process should end.
func (s *Server) Stop() error {
	if s.stopped.Swap(true) {
		return errors.New("the server is stopping already")
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	for _, p := range s.ports {
		if p.Addr().String() != s.addr.Admin { // which is there to the end
			p.finish()
		}
	}
	s.draining.Store(true)
	s.end()
	var grpcDone chan struct{}
	if s.grpc != nil && len(s.ports) > 0 {
		grpcDone = make(chan struct{})
		go func() { s.grpc.GracefulStop(); close(grpcDone) }() // GOAWAY first
	}
	if len(s.ports) > 0 {
		select {
		case <-time.After(drainGrace):
		case <-ctx.Done():
		}
	}
	late := s.http.Shutdown(ctx) != nil
	if grpcDone != nil {
		select {
		case <-grpcDone:
		case <-ctx.Done():
			late = true
		}
	}
	if late {
		return s.giveUp()
	}
	if s.admin != nil {
		_ = s.admin.Close()
	}
	for range s.ports {
		<-s.serving
	}
	if len(s.ports) > 0 {
		<-s.polled
	}
	s.working.Wait()
	s.models.Close()
	if s.probe != nil {
		s.probe.close()
	}
	var err error
	if s.state != nil {
		err = s.state.Close()
	}
	return errors.Join(err, s.watch.Close())
}

// giveUp cuts the connections that are left after drain_timeout and says how many requests that hit. Models stay open, as
// an engine's call cannot be cut short and may take as long as it likes: the end of the process frees them.
func (s *Server) giveUp() error {
	err := fmt.Errorf("drain: %d requests were still under way after drain_timeout (%v)", s.gate.InFlight(), s.cfg.DrainTimeout)
	_ = s.http.Close()
	if s.grpc != nil {
		s.grpc.Stop()
	}
	if s.admin != nil {
		_ = s.admin.Close()
	}
	for range s.ports {
		<-s.serving
	}
	return errors.Join(err, s.watch.Close())
}

// onLoopback says whether an address is reached from this machine only.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && host != "" && localHost(host)
}

// certificates loads the TLS certificate; nil where none is configured.
func certificates(t config.TLS) (*tls.Config, error) {
	if !t.On() {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// policyOf is the gateway's part of the configuration.
func policyOf(cfg *config.Config, log *slog.Logger) (gateway.Options, error) {
	o := gateway.Options{RequestTimeout: cfg.Limits.RequestTimeout, AnswerTimeout: cfg.Limits.AnswerTimeout, MaxInFlight: cfg.Limits.MaxInFlight, DenyControl: !cfg.Control, Log: log}
	for _, k := range cfg.Keys {
		access, ok := gateway.ParseAccess(k.Access)
		if !ok {
			return o, fmt.Errorf("keys: %s: access must be some of infer, read, control", k.Name)
		}
		o.Keys = append(o.Keys, gateway.Key{Name: k.Name, Digest: k.Digest(), Access: access, Rate: k.Limits.Rate, Burst: k.Limits.Burst})
	}
	return o, nil
}
