package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"serval"
)

// ReadObject reads a request's JSON object into v, a pointer to a struct. Fields that v does not have are passed over, as
// clients send what newer servers know; a field of the wrong type is an InvalidArgument that names it.
func (b *Bodies) ReadObject(r *http.Request, limit int64, v any) error {
	body, err := b.Read(nil, r, limit)
	if err != nil {
		return err
	}
	return DecodeObject(body, v)
}

// DecodeObject is ReadObject for a body that was read.
func DecodeObject(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return serval.Errorf(serval.InvalidArgument, "the request has no body; send a JSON object")
	}
	if !utf8.Valid(body) {
		return serval.Errorf(serval.InvalidArgument, "the request's body is not UTF-8; JSON must be (byte %d)", firstInvalid(body))
	}
	err := json.Unmarshal(body, v)
	if err == nil {
		return nil
	}
	var e *serval.Error
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &wrong) && wrong.Field != "":
		field := outside(wrong.Field)
		return serval.Errorf(serval.InvalidArgument, "%s must not be a %s", field, wrong.Value).At(field)
	case errors.As(err, &wrong):
		return serval.Errorf(serval.InvalidArgument, "the request's body is a JSON %s; it must be an object", wrong.Value)
	case errors.As(err, &syntax):
		return serval.Errorf(serval.InvalidArgument, "the request's body is not valid JSON at byte %d: %v", syntax.Offset, err)
	}
	return serval.Errorf(serval.InvalidArgument, "the request's body is not the JSON object that is expected: %v", err)
}

// outside is a field's path without the structs that only this program knows of: encoding/json names those that are embedded.
func outside(path string) string {
	parts := strings.Split(path, ".")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool {
		return p == "generation" || p == "common" || p == "chatRequest" || p == "generateParameters"
	}), ".")
}

func firstInvalid(b []byte) int {
	at := 0
	for at < len(b) {
		r, n := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
}
