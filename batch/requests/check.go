package requests

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"serval"
	"serval/protocol"
)

// Bounds of what a batch's input may be. Errors are listed up to shownErrors; a custom_id comes back in each answer.
const (
	shownErrors = 50
	maxCustomID = 512
)

// place is where a request lies in the input, and what it begins with.
type place struct {
	offset int64
	size   uint32
	line   uint32 // from 1; blank lines count
	prints [prints]uint32
}

// checker reads a batch's input and says all that is wrong with it.
type checker struct {
	endpoint string
	named    string // the model that the endpoint names; "": each body names its own
	most     int    // requests
	longest  int    // bytes of a line
	known    func(serval.Ref) error

	places []place
	errors []protocol.BatchError
	ids    map[[16]byte]struct{}
	models map[string]error // those that were looked up
	model  string           // of all of them; "*": they differ
}

func (c *checker) refuse(line int64, code, param, format string, args ...any) {
	if len(c.errors) < shownErrors {
		c.errors = append(c.errors, protocol.BatchError{Code: code, Message: fmt.Sprintf(format, args...), Param: param, Line: line})
	}
}

// read reads the whole input. An error is the disk's, or ctx's; what is wrong with the input is in c.errors.
func (c *checker) read(ctx context.Context, in io.Reader) error {
	c.ids, c.models = map[[16]byte]struct{}{}, map[string]error{}
	c.named, _ = endpointModel(c.endpoint)
	r := bufio.NewReaderSize(in, 256<<10)
	var buf []byte
	offset, number := int64(0), int64(0)
	for len(c.errors) < shownErrors {
		if number++; number%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		text, long, size, err := readLine(r, buf[:0], c.longest)
		buf = text
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		trimmed := bytes.TrimSpace(text)
		switch {
		case long:
			c.refuse(number, "request_too_large", "", "the line has more than %d bytes (limits.max_body); a request of that size is not taken online either", c.longest)
		case len(trimmed) > 0:
			if len(c.places) >= c.most {
				c.refuse(number, "too_many_requests", "", "the file has more than %d requests (files.max_requests); split it", c.most)
				return nil
			}
			c.take(number, offset, text, trimmed)
		}
		offset += size
		if err != nil {
			break
		}
	}
	if len(c.places) == 0 && len(c.errors) == 0 {
		c.refuse(0, "empty_file", "", "the file has no request; write one line of JSON for each")
	}
	return nil
}

// readLine reads up to the end of a line into buf. A line of more than most bytes is passed over: long. size is what was read.
func readLine(r *bufio.Reader, buf []byte, most int) (text []byte, long bool, size int64, err error) {
	for {
		part, err := r.ReadSlice('\n')
		size += int64(len(part))
		if !long && len(buf)+len(part) > most+1 {
			long, buf = true, buf[:0]
		}
		if !long {
			buf = append(buf, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return buf, long, size, err
		}
	}
}

// take checks one request and notes its place.
func (c *checker) take(number, offset int64, text, trimmed []byte) {
	var l line
	var a asked
	if number == 1 {
		trimmed = bytes.TrimPrefix(trimmed, []byte("\ufeff"))
	}
	if !utf8.Valid(trimmed) {
		c.refuse(number, "invalid_json_line", "", "the line is not UTF-8; JSON must be")
		return
	}
	if err := json.Unmarshal(trimmed, &l); err != nil {
		c.refuse(number, "invalid_json_line", "", "the line is not a JSON object with custom_id, method, url and body: %v", err)
		return
	}
	if !c.head(number, &l) {
		return
	}
	if err := json.Unmarshal(l.Body, &a); err != nil || !bytes.HasPrefix(bytes.TrimSpace(l.Body), []byte("{")) {
		why := "it must be a JSON object"
		if err != nil {
			why = err.Error()
		}
		c.refuse(number, "invalid_request", "body", "body cannot be read: %s", why)
		return
	}
	switch {
	case bool(a.Stream):
		c.refuse(number, "invalid_request", "body.stream", "stream is true; an answer in a batch comes whole, so leave it out")
		return
	case bool(a.Background):
		c.refuse(number, "invalid_request", "body.background", "background is true; a batch waits for its answers, so leave it out")
		return
	case !c.whom(number, &a):
		return
	}
	p := place{offset: offset, size: uint32(len(text)), line: uint32(number)}
	p.prints = printsOf(c.model, &a)
	c.places = append(c.places, p)
}

// head checks what is around the body.
func (c *checker) head(number int64, l *line) bool {
	switch {
	case l.CustomID == nil || *l.CustomID == "":
		c.refuse(number, "missing_required_parameter", "custom_id", "custom_id is missing; each request needs one of its own")
	case len(*l.CustomID) > maxCustomID:
		c.refuse(number, "invalid_custom_id", "custom_id", "custom_id has %d bytes; at most %d are taken", len(*l.CustomID), maxCustomID)
	case l.Method == nil || l.URL == nil:
		param := "method"
		if l.Method != nil {
			param = "url"
		}
		c.refuse(number, "missing_required_parameter", param, "%s is missing; write \"method\": \"POST\", \"url\": %q", param, c.endpoint)
	case *l.Method != "POST":
		c.refuse(number, "invalid_method", "method", "method is %.20q; it must be POST", *l.Method)
	case *l.URL != c.endpoint:
		c.refuse(number, "invalid_url", "url", "url is %.100q, and the batch goes to %s", *l.URL, c.endpoint)
	case len(l.Body) == 0:
		c.refuse(number, "missing_required_parameter", "body", "body is missing")
	default:
		sum := sha256.Sum256([]byte(*l.CustomID))
		key := [16]byte(sum[:16])
		if _, twice := c.ids[key]; twice {
			c.refuse(number, "duplicate_custom_id", "custom_id", "custom_id %q is that of an earlier request, too; answers are told apart by it", *l.CustomID)
			return false
		}
		c.ids[key] = struct{}{}
		return true
	}
	return false
}

// whom checks that there is the model that is asked.
func (c *checker) whom(number int64, a *asked) bool {
	name := c.named
	if name == "" {
		if a.Model == nil || *a.Model == "" {
			c.refuse(number, "missing_required_parameter", "body.model", "model is missing; name one of GET /v1/models")
			return false
		}
		name = *a.Model
	}
	err, looked := c.models[name]
	if !looked {
		var ref serval.Ref
		if ref, err = serval.ParseRef(name); err == nil {
			err = c.known(ref)
		}
		if e := serval.AsError(err); e != nil && e.Code != serval.NotFound && e.Code != serval.InvalidArgument {
			err = nil // it is not loaded just now, say
		}
		if len(c.models) < 1000 {
			c.models[name] = err
		}
	}
	if err != nil {
		c.refuse(number, "model_not_found", "body.model", "%s", serval.AsError(err).Message)
		return false
	}
	switch c.model {
	case "", name:
		c.model = name
	default:
		c.model = "*"
	}
	return true
}

// order sorts the requests so that those with a common beginning follow one another: a model of text then has read it already.
func (c *checker) order() {
	slices.SortFunc(c.places, func(a, b place) int {
		if n := slices.Compare(a.prints[:], b.prints[:]); n != 0 {
			return n
		}
		return int(a.line) - int(b.line)
	})
}
