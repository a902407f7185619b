package testkit

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// A broker comes back with its data after a stop and after a kill, and is gone when it should be.
func TestKafka(t *testing.T) {
	k := KafkaAlone(t, KafkaOptions{})
	k.Stop()
	if _, err := net.Dial("tcp", k.Addr); err == nil {
		t.Error("it takes connections after Stop")
	}
	k.Start(t)
	k.Kill()
	if _, err := net.Dial("tcp", k.Addr); err == nil {
		t.Error("it takes connections after Kill")
	}
	k.Start(t)
	if _, err := os.Stat(filepath.Join(k.dir, "data", "meta.properties")); err != nil {
		t.Error(err)
	}
}
