package gateway

import (
	"errors"
	"fmt"
	"runtime/debug"

	"serval"
)

// explain turns an error from below into what the caller may see. lost is the error with which the caller's sink refused a
// chunk, if it did. An internal error is logged here, once, with its cause.
func (g *Gateway) explain(req *serval.Request, err, lost error) *serval.Error {
	var known *serval.Error
	if lost != nil && !errors.As(err, &known) {
		return serval.Errorf(serval.Canceled, "the answer could not be delivered; the client left").Because(err)
	}
	e := serval.AsError(err)
	if e.Code != serval.Internal {
		return e
	}
	g.log.Error("internal error", "id", req.ID, "tenant", req.Tenant, "protocol", req.Protocol, "model", req.Model.String(),
		"error", e.Message, "cause", cause(e))
	return g.internal(req, e, known != nil || errors.As(err, &known))
}

// panicked logs a panic from below with its stack and makes the error for the caller.
func (g *Gateway) panicked(req *serval.Request, value any) *serval.Error {
	g.log.Error("panic below the gateway; this is a bug, please report it", "id", req.ID, "tenant", req.Tenant,
		"protocol", req.Protocol, "model", req.Model.String(), "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
	e := serval.Errorf(serval.Internal, "internal error").Because(fmt.Errorf("panic: %v", value))
	return g.internal(req, e, false)
}

// internal makes a copy of e with the request's id: e itself may be shared by all calls of a batch. Without a message that
// was meant for a caller, the message says where the cause is.
func (g *Gateway) internal(req *serval.Request, e *serval.Error, keep bool) *serval.Error {
	c := *e
	c.ID = req.ID
	if !keep {
		c.Message = "internal error; the server's log has the cause under id " + req.ID
	}
	return &c
}

func cause(e *serval.Error) string {
	if err := e.Unwrap(); err != nil {
		return err.Error()
	}
	return ""
}
