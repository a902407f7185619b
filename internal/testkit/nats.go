package testkit

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// NATSServer is a real NATS server with JetStream that runs in the test's process, on loopback and a free port, with its data in
// a folder of its own.
type NATSServer struct {
	URL string

	opts *server.Options
	srv  *server.Server
}

var natses struct {
	sync.Mutex
	shared *NATSServer
	lead   io.Closer // while it is open, the server's folder stays
}

// NATS is a server that all tests of the process share; each uses streams of its own.
func NATS(t testing.TB) *NATSServer {
	t.Helper()
	natses.Lock()
	defer natses.Unlock()
	if natses.shared == nil {
		dir, err := os.MkdirTemp("", "serval-nats-")
		if err != nil {
			t.Fatal(err)
		}
		natses.shared = newNATS(t, &server.Options{StoreDir: dir})
		natses.lead = sweep(t, dir)
	}
	return natses.shared
}

// sweep removes a folder when what it returns is closed, or this process ends, also when it is killed: then the shell's standard
// input ends.
func sweep(t testing.TB, dir string) io.Closer {
	t.Helper()
	cmd := exec.Command("sh", "-c", `cat >/dev/null; rm -rf "$0"`, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that Ctrl-C in a terminal is the test's alone
	lead, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return lead
}

// NATSAlone is a server for one test, which may stop and start it. change may be nil.
func NATSAlone(t testing.TB, change func(*server.Options)) *NATSServer {
	t.Helper()
	o := &server.Options{StoreDir: t.TempDir()}
	if change != nil {
		change(o)
	}
	s := newNATS(t, o)
	t.Cleanup(s.Stop)
	return s
}

// NATSCluster are servers that keep streams together.
func NATSCluster(t testing.TB, n int) []*NATSServer {
	t.Helper()
	ports := freePorts(t, n)
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", p)})
	}
	var list []*NATSServer
	for i, p := range ports {
		s := &NATSServer{opts: filledNATS(t, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), StoreDir: t.TempDir(), Routes: routes, Cluster: server.ClusterOpts{Name: "serval", Host: "127.0.0.1", Port: p},
		})}
		s.boot(t)
		t.Cleanup(s.Stop)
		list = append(list, s)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		ready := true
		for _, s := range list {
			ready = ready && s.srv.JetStreamIsCurrent()
		}
		if ready {
			return list
		}
		if time.Now().After(end) {
			t.Fatal("nats: the cluster has no leader after a minute")
		}
	}
}

func newNATS(t testing.TB, o *server.Options) *NATSServer {
	t.Helper()
	s := &NATSServer{opts: filledNATS(t, o)}
	s.boot(t)
	return s
}

func filledNATS(t testing.TB, o *server.Options) *server.Options {
	t.Helper()
	o.Host, o.Port, o.JetStream, o.NoSigs, o.NoLog = "127.0.0.1", freePorts(t, 1)[0], true, true, true
	return o
}

// boot starts it and waits until it takes connections.
func (s *NATSServer) boot(t testing.TB) {
	t.Helper()
	srv, err := server.NewServer(s.opts.Clone())
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats: the server does not take connections after a minute")
	}
	s.srv = srv
	scheme := "nats"
	if s.opts.TLSConfig != nil {
		scheme = "tls"
	}
	s.URL = fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.opts.Port)
}

// Stop ends it; Start starts it again on the same port and data.
func (s *NATSServer) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Start starts it again after Stop.
func (s *NATSServer) Start(t testing.TB) {
	t.Helper()
	s.boot(t)
}

// Leads says whether it is the leader of a stream.
func (s *NATSServer) Leads(stream string) bool {
	return s.srv.JetStreamIsStreamLeader("$G", stream)
}

// Alive says whether it runs.
func (s *NATSServer) Alive() bool { return s.srv.Running() }

// NKey writes the seed of a new user's NKey to a file and returns the public key.
func NKey(t testing.TB, file string) string {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// Certificate makes one for 127.0.0.1 that signs itself, as PEM.
func Certificate(t testing.TB) (cert, key []byte) {
	t.Helper()
	var k KafkaBroker
	return k.certificate(t)
}
