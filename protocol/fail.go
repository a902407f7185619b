package protocol

import (
	"net/http"
	"strconv"
	"strings"

	"serval"
	"serval/internal/jsontensor"
)

// FailText is the Fail of the protocols whose errors are {"error":"…"}: Triton's, KServe's, TensorFlow Serving's. An
// internal error names the id under which the operator finds its cause; Retry-After and X-Request-Id are set where known.
func FailText(w http.ResponseWriter, r *http.Request, e *serval.Error) {
	h := w.Header()
	if len(h["X-Request-Id"]) == 0 {
		if id := r.Header["X-Request-Id"]; len(id) > 0 {
			h["X-Request-Id"] = []string{id[0]}
		}
	}
	message := e.Message
	if e.ID != "" && !strings.Contains(message, e.ID) {
		message += " (id " + e.ID + ")"
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(RetryAfter(e.RetryAfter)))
	}
	status := e.Code.HTTPStatus()
	if e.Code == serval.Conflict { // these protocols know no 409
		status = http.StatusBadRequest
	}
	WriteJSON(w, status, append(jsontensor.AppendString([]byte(`{"error":`), message), '}'))
}

// WriteJSON writes a whole answer.
func WriteJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body)
}
