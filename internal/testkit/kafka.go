package testkit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The user that a Kafka lets in on its listener with SASL, by PLAIN and by SCRAM-SHA-256 and -512.
const (
	KafkaUser     = "alice"
	KafkaPassword = "alice-secret"
)

// KafkaBroker is a running Apache Kafka: one process that is broker and controller (KRaft), on loopback, with its data in a
// folder of the test. It ends with the test, and also when the test's process is killed.
type KafkaBroker struct {
	Addr string // without encryption or password
	SASL string // without encryption, with KafkaUser and KafkaPassword
	TLS  string // encrypted; CA is who signed for it
	CA   []byte // PEM

	dir     string
	swept   bool // the folder is removed with the process
	log     string
	options []string // Java's
	cmd     *exec.Cmd
	lead    io.Closer // while it is open, the process runs
	done    chan struct{}
}

// KafkaOptions change how one is started.
type KafkaOptions struct {
	Optimised bool     // Java compiles for speed, not for a quick start: for measurements
	Settings  []string // lines for server.properties
}

var kafkas struct {
	sync.Mutex
	shared *KafkaBroker
}

// Kafka is a broker that all tests of the process share; each uses topics of its own.
func Kafka(t testing.TB) *KafkaBroker {
	t.Helper()
	kafkas.Lock()
	defer kafkas.Unlock()
	if kafkas.shared == nil {
		dir, err := os.MkdirTemp("", "serval-kafka-")
		if err != nil {
			t.Fatal(err)
		}
		kafkas.shared = newKafka(t, dir, KafkaOptions{}, true)
	}
	return kafkas.shared
}

// KafkaAlone is a broker for one test, which may stop, kill and start it.
func KafkaAlone(t testing.TB, o KafkaOptions) *KafkaBroker {
	t.Helper()
	k := newKafka(t, t.TempDir(), o, false)
	t.Cleanup(k.Kill)
	return k
}

// newKafka formats a folder and starts a broker on it; swept says that the folder is removed with the process.
func newKafka(t testing.TB, dir string, o KafkaOptions, swept bool) *KafkaBroker {
	t.Helper()
	ports := freePorts(t, 4)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	k := &KafkaBroker{Addr: at(0), SASL: at(1), TLS: at(2), dir: dir, swept: swept, log: filepath.Join(dir, "kafka.log")}
	cert, key := k.certificate(t)
	k.options = []string{"-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData"}
	if o.Optimised {
		k.options = append(k.options, "-Xmx1g")
	} else {
		k.options = append(k.options, "-XX:TieredStopAtLevel=1")
	}
	oneLine := func(p []byte) string { return strings.ReplaceAll(strings.TrimSpace(string(p)), "\n", `\n`) }
	lines := append([]string{
		"process.roles=broker,controller", "node.id=1",
		"listeners=PLAIN://" + at(0) + ",SASL://" + at(1) + ",TLS://" + at(2) + ",CONTROLLER://" + at(3),
		"advertised.listeners=PLAIN://" + at(0) + ",SASL://" + at(1) + ",TLS://" + at(2),
		"controller.quorum.bootstrap.servers=" + at(3), "controller.listener.names=CONTROLLER", "inter.broker.listener.name=PLAIN",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL",
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_" + KafkaUser + `="` + KafkaPassword + `";`,
		"listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"ssl.keystore.type=PEM", "ssl.keystore.certificate.chain=" + oneLine(cert), "ssl.keystore.key=" + oneLine(key),
		"log.dirs=" + filepath.Join(dir, "data"), "auto.create.topics.enable=false",
		"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4", "transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=4", "share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1", "group.initial.rebalance.delay.ms=0", "log.cleaner.enable=false",
		"group.min.session.timeout.ms=1000",
	}, o.Settings...)
	if err := os.WriteFile(filepath.Join(dir, "server.properties"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	id[0] = 1 // an id must not begin with '-'
	out, err := k.java("kafka.tools.StorageTool", "format", "--standalone", "-t", base64.RawURLEncoding.EncodeToString(id), "-c", "server.properties",
		"--add-scram", "SCRAM-SHA-256=[name="+KafkaUser+",password="+KafkaPassword+"]",
		"--add-scram", "SCRAM-SHA-512=[name="+KafkaUser+",password="+KafkaPassword+"]").CombinedOutput()
	if err != nil {
		t.Fatalf("kafka: format: %v\n%s\nrun test/setup.sh first", err, out)
	}
	k.Start(t)
	return k
}

// java is a command that runs a class of Kafka's.
func (k *KafkaBroker) java(class string, args ...string) *exec.Cmd {
	return k.command(append([]string{"java"}, k.line(class, args...)...)...)
}

func (k *KafkaBroker) line(class string, args ...string) []string {
	jars := "missing"
	if user, err := os.UserCacheDir(); err == nil {
		jars = filepath.Join(user, "serval-test", "kafka", "*")
	}
	return append(append(append([]string{}, k.options...), "-cp", jars, class), args...)
}

func (k *KafkaBroker) command(line ...string) *exec.Cmd {
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = k.dir
	return cmd
}

// Start starts it, again after Stop or Kill, and waits until it takes connections.
func (k *KafkaBroker) Start(t testing.TB) {
	t.Helper()
	sweep := ""
	if k.swept {
		sweep = `rm -rf "$PWD"; `
	}
	// The shell ends Java when its own standard input ends, which it does also when this process is killed.
	script := `exec 3<&0; java "$@" </dev/null 3<&- & p=$!; trap : TERM
		{ cat <&3 >/dev/null; kill -9 $p 2>/dev/null; ` + sweep + `} &
		while kill -0 $p 2>/dev/null; do wait $p; done`
	k.cmd = k.command(append([]string{"sh", "-c", script, "kafka"}, k.line("kafka.Kafka", "server.properties")...)...)
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that Ctrl-C in a terminal is the test's alone
	out, err := os.Create(k.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	k.cmd.Stdout, k.cmd.Stderr = out, out
	lead, err := k.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	k.lead, k.done = lead, done
	cmd := k.cmd
	go func() { _ = cmd.Wait(); close(done) }()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.DialTimeout("tcp", k.Addr, time.Second); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-done:
		default:
			if time.Now().Before(end) {
				continue
			}
		}
		said, _ := os.ReadFile(k.log)
		t.Fatalf("kafka did not start:\n%s", said)
	}
}

// Kill ends it as a power cut would.
func (k *KafkaBroker) Kill() {
	_ = k.lead.Close()
	<-k.done
}

// Stop has it shut down in order.
func (k *KafkaBroker) Stop() {
	_ = syscall.Kill(-k.cmd.Process.Pid, syscall.SIGTERM)
	<-k.done
	_ = k.lead.Close()
}

// certificate makes one for 127.0.0.1 that signs itself.
func (k *KafkaBroker) certificate(t testing.TB) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafka"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	k.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return bytes.Clone(k.CA), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// freePorts are ports on which nobody listens, below those that the system gives to clients: a server that is started on one later,
// or again, finds it free.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	const low, high = 15000, 32000
	var list []int
	for tries := 0; len(list) < n; tries++ {
		port := low + mathrand.IntN(high-low)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		switch {
		case err == nil:
			defer l.Close() // all are open at the same time, so that they differ
			list = append(list, port)
		case tries > 1000:
			t.Fatal(err)
		}
	}
	return list
}

// Topic makes a topic. settings are the topic's own, as in max.message.bytes=1000.
func (k *KafkaBroker) Topic(t testing.TB, name string, partitions int, settings ...string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	configs := map[string]*string{}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		configs[key] = &value
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, int32(partitions), 1, configs, name); err != nil {
		t.Fatalf("kafka: topic %s: %v", name, err)
	}
}

// KafkaSettled are the ends of a topic's partitions, once no transaction is open: a broker answers the end of a transaction a
// moment before consumers see it.
func KafkaSettled(ctx context.Context, t testing.TB, cl *kgo.Client, topic string) kadm.ListedOffsets {
	t.Helper()
	admin := kadm.NewClient(cl)
	for {
		committed, err := admin.ListCommittedOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		open := false
		ends.Each(func(o kadm.ListedOffset) {
			if c, ok := committed.Lookup(topic, o.Partition); !ok || c.Offset < o.Offset {
				open = true
			}
		})
		if !open {
			return committed
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Port is a port on which nobody listens, for a server of the test's own.
func Port(t testing.TB) int {
	t.Helper()
	return freePorts(t, 1)[0]
}
