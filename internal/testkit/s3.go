package testkit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Bucket is a store that speaks S3's protocol, with one empty bucket, on this machine.
type Bucket struct {
	Component
	Endpoint  string // http://127.0.0.1:PORT; the bucket's name is in the path
	Name      string // of the bucket
	Region    string
	AccessKey string
	SecretKey string
	Dir       string // where its objects lie as files
}

// S3 starts a versitygw over an empty folder.
func S3(t testing.TB) *Bucket {
	t.Helper()
	bin := Cache(t, "bin", "versitygw")
	b := &Bucket{Name: "rows", Region: "us-east-1", AccessKey: "serval", SecretKey: "serval-secret-of-a-test"}
	at := Port(t)
	b.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", at)
	root := t.TempDir()
	b.Dir = filepath.Join(root, b.Name)
	meta := t.TempDir() // beside the objects, so that no extended attributes are needed
	b.Component = Component{t: t, name: "versitygw", stop: syscall.SIGTERM,
		line: func() *exec.Cmd {
			cmd := exec.Command(bin, "--port", fmt.Sprintf("127.0.0.1:%d", at), "--region", b.Region, "--quiet", "posix", "--sidecar", meta, root)
			cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+b.AccessKey, "ROOT_SECRET_KEY="+b.SecretKey)
			cmd.Dir = meta
			return cmd
		},
		up: func() error {
			r, err := http.Get(b.Endpoint + "/")
			if err != nil {
				return err
			}
			return r.Body.Close()
		},
	}
	b.keep()
	if err := b.create(); err != nil {
		t.Fatal(err)
	}
	return b
}

// create makes the bucket, by a request signed with AWS's signature, version 4.
func (b *Bucket) create() error {
	req, err := http.NewRequest(http.MethodPut, b.Endpoint+"/"+b.Name, nil)
	if err != nil {
		return err
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	stamp := time.Now().UTC().Format("20060102T150405Z")
	scope := stamp[:8] + "/" + b.Region + "/s3/aws4_request"
	canonical := strings.Join([]string{"PUT", "/" + b.Name, "", "host:" + req.URL.Host, "x-amz-content-sha256:" + empty,
		"x-amz-date:" + stamp, "", "host;x-amz-content-sha256;x-amz-date", empty}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	key := []byte("AWS4" + b.SecretKey)
	for _, part := range append(strings.Split(scope, "/"), "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(sum[:])) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	req.Header.Set("X-Amz-Date", stamp)
	req.Header.Set("X-Amz-Content-Sha256", empty)
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=%x",
		b.AccessKey, scope, key))
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if said, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK {
		return fmt.Errorf("the bucket %s: %s: %s", b.Name, r.Status, said)
	}
	return nil
}
