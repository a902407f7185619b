package requests

import (
	"encoding/json"
	"strings"

	"serval"
)

// Endpoints are the paths that batches may go to, beside those of Open Inference: /v2/models/NAME/infer and
// /v2/models/NAME/versions/VERSION/infer.
func Endpoints() []string {
	return []string{"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/rerank"}
}

// model is whom an endpoint names in its path; ok is false where there is no such endpoint.
func endpointModel(path string) (model string, ok bool) {
	for _, e := range Endpoints() {
		if path == e {
			return "", true
		}
	}
	parts := strings.Split(path, "/")
	switch {
	case len(parts) == 5 && parts[0] == "" && parts[1] == "v2" && parts[2] == "models" && parts[3] != "" && parts[4] == "infer":
		return parts[3], true
	case len(parts) == 7 && parts[0] == "" && parts[1] == "v2" && parts[2] == "models" && parts[3] != "" && parts[4] == "versions" && parts[5] != "" && parts[6] == "infer":
		return parts[3] + ":" + parts[5], true
	}
	return "", false
}

// checkEndpoint refuses a path that batches cannot go to.
func checkEndpoint(path string) error {
	model, ok := endpointModel(path)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "endpoint %.100q is not one that batches can go to; there are %s and /v2/models/NAME/infer", path, strings.Join(Endpoints(), ", ")).At("endpoint")
	}
	if model == "" {
		return nil
	}
	if _, err := serval.ParseRef(model); err != nil {
		return serval.Errorf(serval.InvalidArgument, "endpoint: %s", serval.AsError(err).Message).At("endpoint")
	}
	return nil
}

// line is a line of the input.
type line struct {
	CustomID *string         `json:"custom_id"`
	Method   *string         `json:"method"`
	URL      *string         `json:"url"`
	Body     json.RawMessage `json:"body"`
}

// asked is what is looked at of a line's body.
type asked struct {
	Model        *string         `json:"model"`
	Stream       flag            `json:"stream"`
	Background   flag            `json:"background"`
	Tools        json.RawMessage `json:"tools"`
	Instructions json.RawMessage `json:"instructions"`
	Messages     json.RawMessage `json:"messages"`
	Input        json.RawMessage `json:"input"`
	Prompt       json.RawMessage `json:"prompt"`
}

// flag is read as the protocols read one: of several the last one counts, and null changes nothing. What is no boolean is the line's own
// fault, which its answer says.
type flag bool

// UnmarshalJSON reads one.
func (f *flag) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case "true":
		*f = true
	case "false":
		*f = false
	}
	return nil
}
