package load

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestResponse(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		status int
		start  string
		close  bool
		rest   string
	}{
		"length":      {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP", 200, "hel", false, "HTTP"},
		"chunks":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\nA;x=y\r\nllo, world\r\n0\r\nX: y\r\n\r\nrest", 200, "hel", false, "rest"},
		"no body":     {"HTTP/1.1 204 No Content\r\n\r\nrest", 204, "", false, "rest"},
		"to the end":  {"HTTP/1.1 200 OK\r\n\r\nhello", 200, "hel", true, ""},
		"close":       {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 200, "x", true, ""},
		"HTTP/1.0":    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", true, ""},
		"1.0 kept":    {"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", false, ""},
		"error":       {"HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\nreason", 503, "reason", false, ""},
		"continue":    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", false, ""},
		"no reason":   {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", false, ""},
		"bare feeds":  {"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", 200, "x", false, ""},
		"large chunk": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4e20\r\n" + strings.Repeat("x", 20000) + "\r\n0\r\n\r\n", 200, "xxx", false, ""},
	} {
		r := bufio.NewReaderSize(strings.NewReader(c.in), 4096)
		var p Response
		start, err := p.read(r, nil, 3)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rest, err := io.ReadAll(r)
		if p.Status != c.status || string(start) != c.start || p.Close != c.close || string(rest) != c.rest || err != nil {
			t.Errorf("%s: %+v, rest %q (%v)", name, p, rest, err)
		}
		if p.Size != len(c.in)-len(c.rest) && name != "chunks" && name != "large chunk" {
			t.Errorf("%s: %d bytes of %d", name, p.Size, len(c.in)-len(c.rest))
		}
	}
}

func TestResponseErrors(t *testing.T) {
	for in, want := range map[string]error{
		"":                    io.EOF,
		"HTTP/1.1 200 OK\r\n": io.ErrUnexpectedEOF,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe": io.ErrUnexpectedEOF,
		"SSH-2.0-x\r\n":                                                  errMalformed,
		"HTTP/1.1 2x0 OK\r\n\r\n":                                        errMalformed,
		"HTTP/1.1 200 OK\r\nnothing\r\n\r\n":                             errMalformed,
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n":                  errMalformed,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n":     errMalformed,
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxHeaders+1): errMalformed,
		strings.Repeat("x", 5000):                                        errMalformed,
	} {
		var p Response
		if _, err := p.read(bufio.NewReaderSize(strings.NewReader(in), 4096), nil, 0); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", in, err, want)
		}
	}
}

func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n",
		"HTTP/1.0 503\r\n\r\n", "HTTP/1.1 100 \n\nHTTP/1.1 204 x\n\n", "\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReaderSize(strings.NewReader(string(in)), 64)
		var p Response
		for {
			start, err := p.read(r, nil, 8)
			if err != nil {
				return
			}
			if p.Status < 200 || p.Status > 999 || p.Size > len(in) || len(start) > errorSample {
				t.Fatalf("%+v", p)
			}
			if p.Close {
				return
			}
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,30]}],"outputs":[]}`))
	f.Add([]byte(`{"inputs":[{"datatype":"WHAT"}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		sig, err := parseMetadata(in)
		if err == nil {
			for _, info := range sig.Inputs {
				if info.DType.String() == "INVALID" {
					t.Fatal("a tensor without a type")
				}
			}
		}
	})
}
