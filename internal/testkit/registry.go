package testkit

import (
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// SchemaRegistry is a registry of schemas of one test: Apicurio's, by the API of Confluent's.
type SchemaRegistry struct {
	Component
	URL string // of that API
}

// Registry starts Apicurio Registry, empty and in memory, on 127.0.0.1 and a free port; some four seconds. After Kill or Stop
// and Start it is empty again.
func Registry(t testing.TB) *SchemaRegistry {
	t.Helper()
	dir := Cache(t, "registry")
	at := Port(t)
	r := &SchemaRegistry{URL: fmt.Sprintf("http://127.0.0.1:%d/apis/ccompat/v7", at)}
	client := &http.Client{Timeout: 5 * time.Second}
	r.Component = Component{t: t, name: "Apicurio Registry", stop: syscall.SIGTERM,
		line: func() *exec.Cmd {
			cmd := exec.Command("java", "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
				"-Dquarkus.http.host=127.0.0.1", "-Dquarkus.http.port="+strconv.Itoa(at), "-jar", "apicurio-registry-app-2.6.13.Final-runner.jar")
			cmd.Dir = dir
			return cmd
		},
		up: func() error {
			res, err := client.Get(r.URL + "/subjects")
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d", res.StatusCode)
			}
			return nil
		},
	}
	r.keep()
	return r
}
