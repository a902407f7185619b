package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"serval"
	"serval/config"
	"serval/engine"
	engines "serval/engine/all"
	"serval/engine/child"
	"serval/schedule"
)

// HostCommand is the hidden sub-command that the process of an isolated model runs.
const HostCommand = child.Command

// isolation is how models are run in processes of their own.
type isolation struct {
	exe   string // this program; "": there are no such processes
	flags []string
	told  map[string]json.RawMessage // the engines' options
	cores int
	log   *slog.Logger
}

func newIsolation(opt *Options, cores int, log *slog.Logger) (*isolation, error) {
	i := &isolation{exe: opt.ProbeExe, flags: opt.ProbeFlags, told: map[string]json.RawMessage{}, cores: cores, log: log}
	for name, options := range opt.Config.Engines {
		raw, err := json.Marshal(options)
		if err != nil {
			return nil, fmt.Errorf("engines.%s: %w", name, err)
		}
		i.told[name] = raw
	}
	return i, nil
}

// wrap returns the engine that opens a model with those settings: eng itself, or, where the model is isolated, one that opens
// it in a process of its own.
func (i *isolation) wrap(eng engine.Engine, s *serval.ModelSettings) (engine.Engine, bool, error) {
	_, own := eng.(engine.Isolated)
	if s.Isolation == "none" || s.Isolation == "" && !own || i == nil || i.exe == "" {
		if s.Memory != "" && i != nil {
			return nil, false, errors.New("memory: it limits the process of an isolated model, and this one runs in the server; add isolation: process, or remove memory")
		}
		return eng, false, nil
	}
	limit := config.Size(0)
	if s.Memory != "" {
		var err error
		if limit, err = config.ParseSize(s.Memory); err != nil {
			return nil, false, fmt.Errorf("memory: %w", err)
		}
	}
	return child.Wrap(eng, child.Options{Exe: i.exe, Flags: i.flags, Told: i.told, Cores: i.cores, Memory: int64(limit), Log: i.log}), true, nil
}

// OnFail has f called when the version ended by itself; see registry.
func (l *loaded) OnFail(f func(error)) {
	if h, ok := l.Loaded.(interface{ OnFail(func(error)) }); ok {
		h.OnFail(f)
	}
}

// RunHost is the process of an isolated model: it loads what its server tells it to, and answers calls, until in ends. Then it
// returns at once, whatever the model is at, and the process must end.
func RunHost(in io.Reader, libs engine.Libraries) error {
	file := os.NewFile(child.SocketFD, "server")
	conn, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("this command is started by a server, which gives it a socket: %w", err)
	}
	if err := file.Close(); err != nil {
		return err
	}
	return child.Serve(in, conn, func(ctx context.Context, o child.Order) (*child.Hosted, error) { return openHosted(ctx, o, libs) })
}

// openHosted loads the model of a host as a server would load it.
func openHosted(ctx context.Context, o child.Order, libs engine.Libraries) (*child.Hosted, error) {
	options := engines.Options()
	for name, raw := range o.Told {
		if into, ok := options[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, fmt.Errorf("engines.%s: %w", name, err)
			}
		}
	}
	for _, e := range engines.New(libs, options) {
		if e.Name() != o.Engine {
			continue
		}
		opened, err := schedule.Open(ctx, e, o.Spec, o.Cores)
		if err != nil {
			return nil, err
		}
		_, streams := opened.Loaded.(*schedule.Streams)
		return &child.Hosted{
			Loaded: opened.Loaded, Signature: opened.Signature, Language: opened.Language, Memory: opened.Memory, Settings: opened.Settings, Streams: streams,
		}, nil
	}
	return nil, fmt.Errorf("engine %q is not built in", o.Engine)
}
