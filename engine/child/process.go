package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"serval"
	"serval/wire/worker"
)

// Command is the hidden sub-command of this program that runs Serve.
const Command = "engine-host"

// SocketFD is the descriptor of the socket that a host is started with.
const SocketFD = 3

// What may be on its way, in bytes: of one call, and of all.
const (
	streamWindow = 4 << 20
	connWindow   = 64 << 20
)

// maxMessage is the largest message that passes, in bytes.
const maxMessage = 1<<31 - 1

// process is one child. It is safe for concurrent use; whoever started it closes it, or kills it and waits for done.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser // its life: it ends when this is closed
	conn   *grpc.ClientConn
	client worker.WorkerClient
	words  words

	guards sync.WaitGroup // goroutines that watch it
	reaped chan struct{}  // closed when it has ended
	done   chan struct{}  // closed when they have ended too; then how says how it ended
	how    string

	heavy   atomic.Bool                  // it was killed since it took too much memory
	stats   atomic.Pointer[serval.Stats] // the last that were heard
	blame   atomic.Pointer[string]       // why it was killed, if it was by us
	served  time.Time                    // since when it takes calls; set before it is shown to calls
	streams bool                         // likewise
}

// start starts a child that serves nothing yet.
func (o *Options) start(what string, log *slog.Logger) (*process, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("no process can be started for it: %w", err)
	}
	defer theirs.Close()
	p := &process{cmd: exec.Command(o.Exe, append(append([]string{Command}, o.Flags...), what)...), reaped: make(chan struct{}), done: make(chan struct{})}
	p.words.log = log
	p.cmd.Args[0] = "serval"
	p.cmd.Env = o.Env
	p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, theirs) // SocketFD
	p.cmd.Stdout, p.cmd.Stderr = &p.words, &p.words
	p.cmd.WaitDelay = 5 * time.Second // a grandchild that keeps its stderr open does not keep us
	apart(p.cmd)
	if p.in, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("no process can be started for it: %w", err)
	}
	if p.conn, err = dial(ours); err != nil {
		_ = ours.Close()
		killAll(p.cmd)
		_ = p.cmd.Wait()
		return nil, err
	}
	p.client = worker.NewWorkerClient(p.conn)
	p.guards.Add(1)
	go p.pulse(o.Health.filled())
	if o.Memory > 0 {
		p.guards.Add(1)
		go p.weigh(o.Memory)
	}
	go p.wait()
	return p, nil
}

// dial makes a client of one connection: when that breaks, the process is over.
func dial(ours net.Conn) (*grpc.ClientConn, error) {
	var once sync.Once
	return grpc.NewClient("passthrough:///host",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage), grpc.ForceCodecV2(codec{})),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: time.Hour}), // its health is watched
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithContextDialer(func(context.Context, string) (conn net.Conn, err error) {
			err = errors.New("the connection to the model's process is gone")
			once.Do(func() { conn, err = ours, nil })
			return conn, err
		}))
}

// wait reaps the process. close and the owner's loop wait for it by done.
func (p *process) wait() {
	err := p.cmd.Wait()
	switch {
	case p.blame.Load() != nil:
		p.how = *p.blame.Load()
	case p.cmd.ProcessState != nil:
		p.how = describe(p.cmd.ProcessState)
	default:
		p.how = err.Error()
	}
	_ = p.in.Close()
	_ = p.conn.Close()
	close(p.reaped)
	p.guards.Wait()
	close(p.done)
}

// kill ends the process and notes why.
func (p *process) kill(why string) {
	p.blame.CompareAndSwap(nil, &why)
	select {
	case <-p.reaped: // its number may be another's by now
	default:
		killAll(p.cmd)
	}
}

// ended says whether it is over.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// gone is called when the connection broke: it waits for the end of the process, which is at hand, or makes it.
func (p *process) gone() {
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		p.kill("it closed its connection and went on")
		<-p.done
	}
}

// closeLimit is how long the end of a process may take that has nothing to do: libraries end their threads.
const closeLimit = 10 * time.Second

// close frees the model and ends the process, and returns once it was reaped. No call is inside.
func (p *process) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	answer, err := p.client.Close(ctx, &worker.CloseRequest{}, grpc.WaitForReady(true))
	if err == nil {
		err = decodeFailure(answer.Failure)
	} else if lost(err) {
		err = nil // it died: nothing is left to be closed
	}
	_ = p.in.Close()
	select {
	case <-p.done:
	case <-time.After(closeLimit):
		p.kill("it did not end when it was told to")
		<-p.done
	}
	return err
}
