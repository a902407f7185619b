package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"serval"
)

const maxMetadata = 4 << 20

// FetchSignature asks a server at addr (host:port of its HTTP listener) what a model takes and gives, as
// GET /v2/models/{name} tells it.
func FetchSignature(ctx context.Context, addr string, model serval.Ref) (serval.Signature, error) {
	name := model.Name
	if model.Alias != "" {
		name += "@" + model.Alias
	}
	target := "http://" + addr + "/v2/models/" + url.PathEscape(name)
	if model.Version != "" {
		target += "/versions/" + url.PathEscape(model.Version)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return serval.Signature{}, serval.Errorf(serval.InvalidArgument, "addr %q: %v", addr, err).At("addr")
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return serval.Signature{}, serval.Errorf(serval.Unavailable, "no answer from %s: %v", addr, err).At("addr")
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxMetadata))
	if err != nil {
		return serval.Signature{}, serval.Errorf(serval.Unavailable, "%s: %v", target, err).At("addr")
	}
	if answer.StatusCode != http.StatusOK {
		return serval.Signature{}, serval.Errorf(serval.NotFound, "%s: %s: %.300s", target, answer.Status, body).At("model")
	}
	sig, err := parseMetadata(body)
	if err != nil {
		return serval.Signature{}, serval.Errorf(serval.InvalidArgument, "%s: %v", target, err).At("model")
	}
	return sig, nil
}

// parseMetadata reads the protocol's model metadata.
func parseMetadata(body []byte) (serval.Signature, error) {
	type tensor struct {
		Name     string  `json:"name"`
		Datatype string  `json:"datatype"`
		Shape    []int64 `json:"shape"`
	}
	var metadata struct {
		Inputs  []tensor `json:"inputs"`
		Outputs []tensor `json:"outputs"`
	}
	if err := json.Unmarshal(body, &metadata); err != nil {
		return serval.Signature{}, fmt.Errorf("model metadata: %w", err)
	}
	convert := func(list []tensor) ([]serval.TensorInfo, error) {
		var infos []serval.TensorInfo
		for _, t := range list {
			dtype, ok := serval.ParseDType(t.Datatype)
			if !ok {
				return nil, fmt.Errorf("tensor '%s' has the unknown datatype %q", t.Name, t.Datatype)
			}
			infos = append(infos, serval.TensorInfo{Name: t.Name, DType: dtype, Shape: t.Shape})
		}
		return infos, nil
	}
	var sig serval.Signature
	var err error
	if sig.Inputs, err = convert(metadata.Inputs); err != nil {
		return sig, err
	}
	sig.Outputs, err = convert(metadata.Outputs)
	return sig, err
}
