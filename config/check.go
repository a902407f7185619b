package config

import (
	"encoding/hex"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// config checks what no single value can show.
func (k *check) config(c *Config) {
	k.addresses(c)
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		k.fail("tls", "has only one of cert and key; name both files")
	}
	k.keys(c.Keys)
	for i, dir := range c.ModelDirs {
		if dir == "" {
			k.fail(element("model_dirs", i), "is empty; write a folder's path")
		}
	}
	if c.DataDir == "" {
		k.fail("data_dir", "is empty; write a folder's path")
	}
	k.store(c)
	k.modelControl(c)
	if c.Limits.MaxBody == 0 {
		k.fail("limits.max_body", "is 0, so no request would be taken; write a size such as 64MiB")
	}
	k.traces(&c.Traces)
	k.streams(c.Streams)
	k.requests(c)
	for name := range c.Models {
		m := c.Models[name]
		k.model(join("models", name), &m)
	}
}

// store checks where the state lies. The URL may hold a password, so it is not shown.
func (k *check) store(c *Config) {
	if c.Store != "sqlite" && !strings.HasPrefix(c.Store, "postgres://") && !strings.HasPrefix(c.Store, "postgresql://") {
		k.fail("store", "must be sqlite, or a URL such as postgres://user:password@host:5432/database")
	}
	if c.Batch.Lease < time.Second {
		k.fail("batch.lease", "must be 1s or longer, is %s", c.Batch.Lease)
	}
	if scheme, _, ok := strings.Cut(c.Batch.Dir, "://"); ok && !slices.Contains([]string{"s3", "gs", "azblob"}, scheme) {
		k.fail("batch.dir", "must be a folder, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix")
	}
	for i, dir := range c.Batch.Files {
		if !filepath.IsAbs(dir) {
			k.fail(element("batch.files", i), "must be an absolute path, not %s", quote(dir))
		}
	}
	for i := range c.Batch.Places {
		k.reach(&c.Batch.Places[i], element("batch.places", i))
	}
	for name, s := range c.Batch.Schedules {
		k.schedule(&s, join("batch.schedules", name))
	}
}

func (k *check) modelControl(c *Config) {
	m := &c.ModelControl
	k.oneOf("model_control.mode", m.Mode, "", "none", "explicit", "poll")
	if len(m.Load) > 0 && m.Mode != "explicit" {
		k.fail("model_control.load", "names models, which only mode explicit (--model-control explicit) reads; all are loaded in the other modes")
	}
	if len(m.Load) > 1 && slices.Contains(m.Load, "*") {
		k.fail("model_control.load", "has * beside names; * alone loads all")
	}
	if m.Mode == "poll" && m.Poll < 100*time.Millisecond {
		k.fail("model_control.poll", "must be 100ms or longer, is %s", m.Poll)
	}
	if strings.ContainsAny(c.ModelName, ":@/") {
		k.fail("model_name", "%s: a model's name has no ':', '@' and '/'", quote(c.ModelName))
	}
	if c.ModelName != "" && len(c.ModelDirs) > 1 {
		k.fail("model_name", "is for a single folder that is a model; model_dirs has %d", len(c.ModelDirs))
	}
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// address is one listener.
type address struct {
	path, text string
	host, port string
}

func (k *check) addresses(c *Config) {
	var list []address
	for _, a := range []address{{path: "listen", text: c.Listen}, {path: "grpc", text: c.GRPC}, {path: "admin", text: c.Admin}} {
		if a.text == "" && a.path != "listen" {
			continue
		}
		var ok bool
		if a.host, a.port, ok = k.hostPort(a.path, a.text); !ok {
			continue
		}
		k.exposed(c, a)
		for _, other := range list {
			if a.port != "0" && a.port == other.port && overlap(a.host, other.host) {
				k.fail(a.path, "has port %s, and so has %s (%s); give each its own", a.port, other.path, other.text)
			}
		}
		list = append(list, a)
	}
}

// hostPort splits an address to listen on.
func (k *check) hostPort(path, text string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		hint := ""
		if isPort(text) {
			hint = "; write 127.0.0.1:" + text
		}
		k.fail(path, "must be host:port such as 127.0.0.1:8080, not %s%s", quote(text), hint)
		return "", "", false
	}
	if !isPort(port) {
		k.fail(path, "has the port %s; it must be a number from 0 to 65535", quote(port))
		return "", "", false
	}
	if strings.ContainsFunc(host, func(r rune) bool { return unicode.IsSpace(r) || r == '/' || r == '@' }) {
		k.fail(path, "has the host %s; write an IP address or a host's name alone", quote(host))
		return "", "", false
	}
	return host, port, true
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func overlap(a, b string) bool {
	every := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	return a == b || every(a) || every(b) || a == "localhost" && loopback(b) || b == "localhost" && loopback(a)
}

// exposed refuses an address that other machines reach while nothing protects it.
func (k *check) exposed(c *Config, a address) {
	if c.Insecure || loopback(a.host) {
		return
	}
	if a.path == "admin" {
		k.fail(a.path, "%s can be reached by other machines, and its metrics and profiles ask for no key; listen on 127.0.0.1, or say 'insecure: true' (--insecure) if the network is yours alone", a.text)
		return
	}
	if len(c.Keys) == 0 && !c.TLS.On() {
		k.fail(a.path, "%s can be reached by other machines, and there are neither keys nor TLS; add 'keys:' (see 'serval config hash-key') or 'tls: {cert: FILE, key: FILE}', or listen on 127.0.0.1, or say 'insecure: true' (--insecure) if the network is yours alone", a.text)
	}
}

func (k *check) keys(keys []Key) {
	names, hashes := map[string]int{}, map[string]int{}
	for i := range keys {
		key, path := &keys[i], element("keys", i)
		switch first, twice := names[key.Name]; {
		case key.Name == "":
			k.fail(path+".name", "is missing; every key needs a name, which becomes the tenant")
		case len(key.Name) > 128 || strings.ContainsFunc(key.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
			k.fail(path+".name", "must be at most 128 bytes of printable text, not %s", quote(key.Name))
		case twice:
			k.fail(path+".name", "%s is the name of %s too; give each its own", quote(key.Name), element("keys", first))
		default:
			names[key.Name] = i
		}
		if _, ok := parseHash(key.Hash); !ok {
			// The value is not shown: it may be the key itself.
			k.fail(path+".hash", "must be 'sha256:' and 64 hexadecimal digits; 'serval config hash-key' makes it from the key")
			continue
		}
		hash := strings.ToLower(key.Hash)
		if first, twice := hashes[hash]; twice {
			k.fail(path+".hash", "is the hash of %s too; give each its own key", element("keys", first))
			continue
		}
		hashes[hash] = i
	}
}

func parseHash(s string) (digest [32]byte, ok bool) {
	text, ok := strings.CutPrefix(s, hashPrefix)
	if !ok || len(text) != 2*len(digest) {
		return digest, false
	}
	_, err := hex.Decode(digest[:], []byte(text))
	return digest, err == nil
}

func (k *check) traces(t *Traces) {
	if t.Endpoint == "" {
		return
	}
	const want = "must be host:port, or a URL such as http://127.0.0.1:4318, not %s"
	if !strings.Contains(t.Endpoint, "://") {
		if host, port, err := net.SplitHostPort(t.Endpoint); err != nil || host == "" || !isPort(port) {
			k.fail("traces.endpoint", want, quote(t.Endpoint))
		}
		return
	}
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		k.fail("traces.endpoint", want, quote(t.Endpoint))
	case t.Protocol == "grpc" && strings.Trim(u.Path, "/") != "":
		k.fail("traces.endpoint", "has the path %s, which gRPC does not use; write the scheme, host and port alone", quote(u.Path))
	}
}
