package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"serval"
)

const (
	maxAnswer = 2 << 30 // bytes of an answer
	maxError  = 64 << 10
)

// Client talks to one server. It never retries by itself. It is safe for concurrent use.
type Client struct {
	base string
	key  string
	http *http.Client
}

// New makes a Client for a server's address, as in "http://127.0.0.1:8080"; "http://" may be left out. The key, if any, is
// sent as a bearer token. Nothing is sent yet; time limits are the caller's, by context.
func New(base string, key string) *Client {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}
	return &Client{base: strings.TrimRight(base, "/"), key: key, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the key stays here
	}}
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// modelPath is the path of a model, or of one of its versions, as the protocol writes it. An alias stays with the name.
func modelPath(ref serval.Ref, rest string) string {
	name := ref.Name
	if ref.Alias != "" {
		name += "@" + ref.Alias
	}
	path := "/v2/models/" + url.PathEscape(name)
	if ref.Version != "" {
		path += "/versions/" + url.PathEscape(ref.Version)
	}
	return path + rest
}

// exchange sends a request and returns the answer's header and body. An answer other than 2xx is an *serval.Error.
func (c *Client) exchange(ctx context.Context, method, path string, header http.Header, body []byte) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, serval.Errorf(serval.InvalidArgument, "server address %q: %w", c.base, err).At("server")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what is there of it serves as the message
		return nil, nil, refusal(resp, text)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, c.unreachable(ctx, err)
	}
	if len(data) > maxAnswer {
		return nil, nil, serval.Errorf(serval.TooLarge, "the answer has more than %d bytes; ask for fewer rows at a time", maxAnswer)
	}
	return resp.Header, data, nil
}

// call sends and receives JSON; in and out may be nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	header := http.Header{}
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return serval.Errorf(serval.InvalidArgument, "the request cannot be written as JSON: %w", err)
		}
		header.Set("Content-Type", "application/json")
	}
	_, data, err := c.exchange(ctx, method, path, header, body)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return c.garbled(path, err)
	}
	return nil
}

func (c *Client) garbled(path string, err error) error {
	return serval.Errorf(serval.Internal, "%s%s did not answer as the Open Inference Protocol says: %w", c.base, path, err)
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return serval.AsError(ctx.Err())
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return serval.Errorf(serval.Unavailable, "no answer from %s: %w; is the server running? (serval serve)", c.base, err).At("server")
}

// refusal makes an Error of an answer that is not 2xx.
func refusal(resp *http.Response, body []byte) *serval.Error {
	var b struct{ Error json.RawMessage }
	_ = json.Unmarshal(body, &b) // a body that is something else is shown as it is
	said := readError(b.Error)
	e := serval.Errorf(code(resp.StatusCode), "%s", message(resp, said.Message, body)).At(said.Param).Named(said.Code)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// message is the text of {"error": "…"} or {"error": {"message": "…"}}, else the status with the body's first line.
func message(resp *http.Response, said string, body []byte) string {
	if said != "" {
		return said
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if line == "" {
		return fmt.Sprintf("the server answered %s", resp.Status)
	}
	return fmt.Sprintf("the server answered %s: %s", resp.Status, clip(line))
}

// code is the class of an HTTP status.
func code(status int) serval.Code {
	for c := serval.Internal; c <= serval.DeadlineExceeded; c++ {
		if c.HTTPStatus() == status {
			return c
		}
	}
	if status < 500 {
		return serval.InvalidArgument
	}
	return serval.Internal
}
