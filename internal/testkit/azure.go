package testkit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Container is a store that speaks the protocol of Azure's, with one empty container, on this machine.
type Container struct {
	Component
	Endpoint string // http://127.0.0.1:PORT/ACCOUNT
	Account  string
	Key      string
	Name     string // of the container
}

// Azure starts an Azurite over an empty folder. It keeps its table of blobs in memory, and writes it now and then and at its end: Kill
// loses what was just written, Stop nothing.
func Azure(t testing.TB) *Container {
	t.Helper()
	script := Cache(t, "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
	root, at := t.TempDir(), Port(t)
	c := &Container{Account: "serval", Key: base64.StdEncoding.EncodeToString([]byte("serval-secret-of-a-test")), Name: "rows"}
	c.Endpoint = fmt.Sprintf("http://127.0.0.1:%d/%s", at, c.Account)
	c.Component = Component{t: t, name: "azurite", stop: syscall.SIGINT,
		line: func() *exec.Cmd {
			// Clients speak newer versions of the protocol than it knows, which makes no difference to what is used of it.
			cmd := exec.Command("node", script, "--blobHost", "127.0.0.1", "--blobPort", fmt.Sprint(at), "--location", root, "--silent",
				"--skipApiVersionCheck", "--disableTelemetry")
			cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+c.Account+":"+c.Key)
			cmd.Dir = root
			return cmd
		},
		up: func() error {
			r, err := http.Get(c.Endpoint)
			if err != nil {
				return err
			}
			return r.Body.Close()
		},
	}
	c.keep()
	if err := c.create(); err != nil {
		t.Fatal(err)
	}
	return c
}

// Connection is what AZURE_STORAGE_CONNECTION_STRING takes.
func (c *Container) Connection() string {
	return "DefaultEndpointsProtocol=http;AccountName=" + c.Account + ";AccountKey=" + c.Key + ";BlobEndpoint=" + c.Endpoint + ";"
}

// SAS is a signature that lets its holder do all in the container for an hour. Source: "Create a service SAS", Azure Storage's REST API.
func (c *Container) SAS() string {
	const version = "2020-12-06"
	end := time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05Z")
	text := strings.Join([]string{"racwdl", "", end, "/blob/" + c.Account + "/" + c.Name, "", "", "", version, "c", "", "", "", "", "", "", ""}, "\n")
	return url.Values{"sp": {"racwdl"}, "se": {end}, "sv": {version}, "sr": {"c"}, "sig": {c.sign(text)}}.Encode()
}

func (c *Container) sign(text string) string {
	key, _ := base64.StdEncoding.DecodeString(c.Key) // it was encoded here
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// create makes the container. Source: "Authorize with Shared Key", Azure Storage's REST API.
func (c *Container) create() error {
	req, err := http.NewRequest(http.MethodPut, c.Endpoint+"/"+c.Name+"?restype=container", nil)
	if err != nil {
		return err
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	const version = "2021-12-02"
	req.Header.Set("x-ms-date", date)
	req.Header.Set("x-ms-version", version)
	text := "PUT" + strings.Repeat("\n", 12) + "x-ms-date:" + date + "\nx-ms-version:" + version + "\n/" + c.Account + req.URL.Path + "\nrestype:container"
	req.Header.Set("Authorization", "SharedKey "+c.Account+":"+c.sign(text))
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if said, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusCreated {
		return fmt.Errorf("the container %s: %s: %s", c.Name, r.Status, said)
	}
	return nil
}

// Put writes a blob, by a request of its own, as Get and List do.
func (c *Container) Put(key, data string) {
	c.t.Helper()
	call(c.t, http.MethodPut, c.blob(key), data, "x-ms-blob-type", "BlockBlob")
}

// Get reads a blob.
func (c *Container) Get(key string) string {
	c.t.Helper()
	return call(c.t, http.MethodGet, c.blob(key), "")
}

func (c *Container) blob(key string) string {
	return c.Endpoint + "/" + c.Name + "/" + (&url.URL{Path: key}).EscapedPath() + "?" + c.SAS()
}

// List names the blobs that begin so, in order.
func (c *Container) List(prefix string) (keys []string) {
	c.t.Helper()
	var list struct {
		Names []string `xml:"Blobs>Blob>Name"`
	}
	said := call(c.t, http.MethodGet, c.Endpoint+"/"+c.Name+"?restype=container&comp=list&prefix="+url.QueryEscape(prefix)+"&"+c.SAS(), "")
	if err := xml.Unmarshal([]byte(said), &list); err != nil {
		c.t.Fatal(err)
	}
	return list.Names
}
