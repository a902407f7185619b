package chat

import (
	"crypto/tls"
	"encoding/json"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"serval"
)

// target is where requests go and what all of them begin with. It is not changed while a run uses it.
type target struct {
	addr string
	tls  *tls.Config // nil: plain HTTP
	head []byte      // of a request, up to the length of its body
	open []byte      // of a body, without the workload's part and the end
	max  bool        // max_tokens is the workload's
}

func newTarget(o *Options) (*target, error) {
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	t := &target{addr: u.Host}
	if u.Scheme == "https" {
		t.tls = &tls.Config{ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}}
	}
	if u.Port() == "" {
		t.addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	path := map[API]string{Chat: "/v1/chat/completions", Completions: "/v1/completions", Embeddings: "/v1/embeddings"}[o.API]
	t.head = []byte("POST " + u.EscapedPath() + path + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: serval-bench\r\nContent-Type: application/json\r\n")
	if o.Key != "" {
		t.head = append(t.head, "Authorization: Bearer "+o.Key+"\r\n"...)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		t.head = append(t.head, name+": "+o.Headers[name]+"\r\n"...)
	}
	t.head = append(t.head, "Content-Length: "...)
	t.body(o)
	return t, nil
}

// parseURL takes an address with or without a scheme and with or without /v1 at its end.
func parseURL(text string) (*url.URL, error) {
	full := text
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.User != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "url: %q: write http://host:port", text).At("url")
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1")
	u.RawPath = ""
	return u, nil
}

// body writes what all bodies begin with.
func (t *target) body(o *Options) {
	fields := map[string]json.RawMessage{}
	if o.API == Embeddings {
		fields["encoding_format"] = json.RawMessage(`"base64"`) // as OpenAI's own client asks for; a quarter of the bytes
	} else {
		fields["temperature"] = json.RawMessage("0") // servers differ in their defaults, and in what those cost
		if !o.StopEarly {
			fields["ignore_eos"] = json.RawMessage("true")
		}
		if !o.NoUsage {
			fields["stream_options"] = json.RawMessage(`{"include_usage":true}`)
		}
		_, set := o.Fields["max_tokens"]
		t.max = !set
	}
	maps.Copy(fields, o.Fields)
	t.open = appendString([]byte(`{"model":`), o.Model)
	if o.API != Embeddings {
		t.open = append(t.open, `,"stream":true`...)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if value := fields[name]; string(value) != "null" {
			t.open = append(append(appendString(append(t.open, ','), name), ':'), value...)
		}
	}
}

// append appends a whole request, of which spoken is the workload's part.
func (t *target) append(b, spoken []byte, limit int) []byte {
	size := len(t.open) + len(spoken) + 1
	var tokens []byte
	if t.max && limit > 0 {
		tokens = strconv.AppendInt([]byte(`,"max_tokens":`), int64(limit), 10)
		size += len(tokens)
	}
	b = strconv.AppendInt(append(b, t.head...), int64(size), 10)
	b = append(append(append(b, "\r\n\r\n"...), t.open...), tokens...)
	return append(append(b, spoken...), '}')
}

func appendString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return strconv.AppendQuote(b, s)
	}
	return append(b, quoted...)
}
