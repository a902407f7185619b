package serval

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Code classes an Error; each protocol maps it to its own status.
type Code uint8

// The codes, with the HTTP status that most dialects use for them.
const (
	Internal          Code = iota // 500: our fault; the message given to a caller hides the cause
	InvalidArgument               // 400: the request is wrong as it stands
	Unauthenticated               // 401: no key, or one that is not known
	PermissionDenied              // 403: the key does not allow this
	NotFound                      // 404: no such model, version or route
	Conflict                      // 409: it exists already, or is in a state that forbids this
	TooLarge                      // 413: over a size limit
	ResourceExhausted             // 429: the caller's own limit, or the model's queue is full; try again later
	Canceled                      // 499: the client left
	Unimplemented                 // 501: known, but this server or model does not do it
	Unavailable                   // 503: loading, draining or failed; try again later
	DeadlineExceeded              // 504: the deadline passed before the answer was there
	numCodes
)

var codeNames = [numCodes]string{"internal", "invalid_argument", "unauthenticated", "permission_denied", "not_found",
	"conflict", "too_large", "resource_exhausted", "canceled", "unimplemented", "unavailable", "deadline_exceeded"}

var codeStatus = [numCodes]int{500, 400, 401, 403, 404, 409, 413, 429, 499, 501, 503, 504}

// String is the code in lower case, as metrics and logs show it.
func (c Code) String() string {
	if c >= numCodes {
		c = Internal
	}
	return codeNames[c]
}

// HTTPStatus is the usual status for the code; a protocol may choose another.
func (c Code) HTTPStatus() int {
	if c >= numCodes {
		c = Internal
	}
	return codeStatus[c]
}

// ErrRetired is what a model version answers when it was replaced between the look-up and the call. Nothing was done; route
// looks the model up again. It never reaches a caller.
var ErrRetired = errors.New("serval: this version was retired")

// ErrEnough is what a Sink's Send returns when it needs no more of the answer, which then is a success.
var ErrEnough = errors.New("serval: the receiver has all that it needs")

// Error is the only kind of error whose message reaches a caller. Message names the field and what to do.
type Error struct {
	Code       Code
	ID         string        // set for Internal: the id under which the operator's log has the cause
	Message    string        // what is wrong and how to mend it, in one line
	Param      string        // the field or tensor at fault, if there is one
	Reason     string        // a word that programs tell it by: "context_length_exceeded", "model_not_found", …; "" for most
	RetryAfter time.Duration // for ResourceExhausted and Unavailable: when to try again; 0 = not said
	cause      error
}

// Errorf makes an Error; a %w argument becomes its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// At names the field or tensor at fault and returns e.
func (e *Error) At(param string) *Error { e.Param = param; return e }

// Named gives the reason its word and returns e.
func (e *Error) Named(reason string) *Error { e.Reason = reason; return e }

// After says when to try again and returns e.
func (e *Error) After(d time.Duration) *Error { e.RetryAfter = d; return e }

// Because keeps the cause for the operator's log and returns e.
func (e *Error) Because(cause error) *Error { e.cause = cause; return e }

func (e *Error) Error() string { return e.Message }

// Unwrap is the cause, which callers of the API never see.
func (e *Error) Unwrap() error { return e.cause }

// AsError turns any error into an *Error: context errors keep their meaning, anything unknown becomes Internal with a
// message that gives nothing away and the original as its cause.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		return e
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Code: Canceled, Message: "the request was cancelled by the client", cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: DeadlineExceeded, Message: "the deadline passed before the answer was ready", cause: err}
	}
	return &Error{Code: Internal, Message: "internal error; the server's log has the cause under this request's id", cause: err}
}
