package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"serval/config"
	engines "serval/engine/all"
	"serval/native"
	"serval/server"
	"serval/starter"
)

// place is where a command finds configuration, libraries and models; its flags are the same for all commands.
type place struct {
	config string
	models []string
	data   string
	cache  string
	libs   []string // name=path
	off    string
	// streams checks the streams; nil: the command runs none, and does not mind what they are.
	streams config.StreamCheck
}

func (p *place) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.config, "config", "", "configuration file (default: serval.yaml, if there is one)")
	f.StringSliceVar(&p.models, "models", nil, "folder with one folder for each model (default: models)")
	f.StringVar(&p.data, "data", "", "folder for what the server keeps (default: data)")
	p.storeFlags(c)
}

func (p *place) storeFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.cache, "cache", "", "folder for fetched libraries and packages, and for packed weights (default: the user's cache folder)")
	f.StringArrayVar(&p.libs, "library", nil, "use this file for a library, as in onnxruntime=/opt/libonnxruntime.so")
	f.StringVar(&p.off, "offline", "", "folder with archives or libraries to use instead of fetching them")
}

// store finds and fetches libraries.
func (p *place) store(progress io.Writer) (*native.Store, error) {
	cache := p.cache
	if cache == "" {
		if cache = os.Getenv("SERVAL_CACHE"); cache == "" {
			dir, err := os.UserCacheDir()
			if err != nil {
				return nil, fmt.Errorf("no cache folder (%w); name one with --cache", err)
			}
			cache = filepath.Join(dir, "serval")
		}
	}
	off := p.off
	if off == "" {
		off = os.Getenv("SERVAL_OFFLINE")
	}
	explicit := map[string]string{}
	for _, l := range p.libs {
		name, path, ok := strings.Cut(l, "=")
		if !ok || name == "" || path == "" {
			return nil, usage(fmt.Errorf("--library %q: write name=path, as in onnxruntime=/opt/libonnxruntime.so", l))
		}
		explicit[name] = path
	}
	return native.New(native.Options{Cache: cache, Offline: off, Libraries: explicit, Progress: progress}), nil
}

// pass gives the flags that let a child find the same libraries.
func (p *place) pass() []string {
	var out []string
	for _, l := range p.libs {
		out = append(out, "--library", l)
	}
	if p.cache != "" {
		out = append(out, "--cache", p.cache)
	}
	if p.off != "" {
		out = append(out, "--offline", p.off)
	}
	return out
}

// read makes the configuration of the file, the environment and the flags.
func (p *place) read(override func(*config.Config)) (*config.Config, error) {
	file := p.config
	if file == "" {
		file = "serval.yaml"
	}
	raw, err := os.ReadFile(file)
	if err != nil && (p.config != "" || !errors.Is(err, fs.ErrNotExist)) {
		return nil, usage(err)
	}
	cfg, err := config.Read(config.Source{Data: raw, File: file, Env: os.LookupEnv, Engines: engines.Options(), Plugins: server.StreamPlugins(), Streams: p.streams, Override: func(c *config.Config) {
		if len(p.models) > 0 {
			c.ModelDirs = p.models
		}
		if p.data != "" {
			c.DataDir = p.data
		}
		if p.streams == nil {
			c.Streams = nil
		}
		if override != nil {
			override(c)
		}
	}})
	if err != nil {
		return nil, usage(err)
	}
	return cfg, nil
}

// libraries gives engines their shared libraries, fetching one that is nowhere at its first use.
type libraries struct {
	ctx   context.Context
	store *native.Store
}

func (l *libraries) Find(name string) (string, error) { return l.store.Ensure(l.ctx, name) }

func (l *libraries) Folder(name string) string { return l.store.Folder(name) }

type serveFlags struct {
	place
	listen, grpc, admin string
	insecure, hello     bool
	control, name       string
	load                []string
	poll                time.Duration
}

func serveCommand() *cobra.Command {
	f := &serveFlags{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the models of a folder",
		Example: `  serval serve
  serval serve --models /srv/models --listen 127.0.0.1:8000 --grpc 127.0.0.1:8001
  serval serve --config serval.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serve(c, f) },
	}
	f.place.flags(c)
	c.Flags().StringVar(&f.listen, "listen", "", "address of the HTTP port (default: 127.0.0.1:8080)")
	c.Flags().StringVar(&f.grpc, "grpc", "", "address of the gRPC port (default: 127.0.0.1:8081); 'off': none")
	c.Flags().StringVar(&f.admin, "admin", "", "address of metrics and profiles, on loopback (default: 127.0.0.1:8082); 'off': none")
	c.Flags().StringVar(&f.control, "model-control", "", "which models are loaded when: none, explicit or poll (default: all at the start, and clients load and unload)")
	c.Flags().StringArrayVar(&f.load, "load-model", nil, "with --model-control explicit: a model to load at the start; '*': all")
	c.Flags().DurationVar(&f.poll, "poll", 0, "with --model-control poll: how often the folders are looked at (default: 15s)")
	c.Flags().StringVar(&f.name, "model-name", "", "name of the model where the models folder is itself one model")
	c.Flags().BoolVar(&f.insecure, "insecure", false, "let other machines in though there are neither keys nor TLS")
	c.Flags().BoolVar(&f.hello, "hello", false, "print what to type next once the server is ready")
	return c
}

// sayHello prints commands to paste; the starter models' own where they are served.
func sayHello(s *server.Server) {
	at := ""
	if a := s.Addresses().HTTP; a != starter.DefaultAddress {
		at = " --server http://" + a
	}
	fmt.Println("\nServal is ready. In another terminal:")
	served := map[string]string{}
	for _, m := range s.Models().List() {
		served[m.Name] = m.Path
	}
	n := 0
	for _, m := range starter.Models() {
		if path, ok := served[m.Name]; ok {
			example := filepath.Join(filepath.Dir(path), m.Example)
			if wd, err := os.Getwd(); err == nil {
				if rel, err := filepath.Rel(wd, example); err == nil {
					example = rel
				}
			}
			fmt.Println("  " + m.Try(os.Args[0], s.Addresses().HTTP, example))
			n++
		}
	}
	if n == 0 {
		fmt.Printf("  %s model list%s\n  curl -s http://%s/v2/health/ready\n  curl -s -X POST http://%s/v2/repository/index\n", os.Args[0], at, s.Addresses().HTTP, s.Addresses().HTTP)
	}
	fmt.Println("Ctrl-C drains and stops.")
}

func (f *serveFlags) override(c *config.Config) {
	set := func(to *string, flag string) {
		switch flag {
		case "":
		case "off":
			*to = ""
		default:
			*to = flag
		}
	}
	set(&c.Listen, f.listen)
	set(&c.GRPC, f.grpc)
	set(&c.Admin, f.admin)
	if f.insecure {
		c.Insecure = true
	}
	if f.control != "" {
		c.ModelControl.Mode = f.control
	}
	if len(f.load) > 0 {
		c.ModelControl.Load = f.load
	}
	if f.poll != 0 {
		c.ModelControl.Poll = f.poll
	}
	if f.name != "" {
		c.ModelName = f.name
	}
	// The admin port's default stands aside when it is taken by a second server on this machine that chose other ports.
	if f.admin == "" && f.listen != "" && c.Admin == config.Default().Admin {
		if l, err := net.Listen("tcp", c.Admin); err != nil {
			c.Admin = "127.0.0.1:0"
		} else {
			_ = l.Close()
		}
	}
}

func serve(c *cobra.Command, f *serveFlags) error {
	started := time.Now()
	f.streams = server.StreamCheck()
	cfg, err := f.read(f.override)
	if err != nil {
		return err
	}
	out, err := server.OpenLog(cfg.Log)
	if err != nil {
		return usage(err)
	}
	defer out.Close()
	log := out.Logger()
	cores := tuneRuntime()
	store, err := f.store(os.Stderr)
	if err != nil {
		return err
	}
	exe, err := self()
	if err != nil {
		return err
	}
	s, err := server.New(server.Options{
		Config: cfg, Engines: engines.New(&libraries{c.Context(), store}, cfg.Engines), Cores: cores, Version: version, Log: out,
		ProbeExe: exe, ProbeFlags: f.pass(), Puller: puller(store, nil), Env: os.LookupEnv,
	})
	if err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	a := s.Addresses()
	log.Info("listening", "http", a.HTTP, "grpc", a.GRPC, "admin", a.Admin)
	loading := make(chan error, 1)
	shown := watchLoading(s.Progress, log)
	go func() { loading <- s.Load(c.Context()) }()
	for {
		select {
		case err := <-loading:
			shown()
			if err == nil {
				log.Info("ready", "models", len(s.Models().List()), "took", time.Since(started).Round(time.Millisecond).String())
				if f.hello {
					sayHello(s)
				}
			} else {
				log.Error("not ready: some models failed", "error", few(err))
			}
			loading = nil
		case <-c.Context().Done():
			shown()
			log.Info("draining")
			err := s.Stop()
			if loading != nil {
				select {
				case <-loading:
				case <-time.After(time.Second): // it is in C code, which nothing interrupts; the process ends now
				}
			}
			if err != nil {
				return err
			}
			log.Info("stopped")
			return nil
		}
	}
}

// self is this very program, for children to run: on Linux the one that runs, even when its file was replaced by an upgrade.
func self() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// tuneRuntime sets the Go runtime up for a server, and returns the number of cores. Its heap is small and garbage short-lived, so
// collecting less often costs little memory.
func tuneRuntime() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	return tuneProcs()
}

// tuneProcs sets the Go runtime up for calls into C, and returns the number of cores. A C call keeps its thread, and the goroutine
// that comes back from one waits for a free P: with more Ps than cores there is one (docs/decisions/0001).
func tuneProcs() int {
	cores := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(4 * cores)
	}
	return cores
}
