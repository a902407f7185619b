package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"serval"
)

// Listed is a model's version as the repository index shows it.
type Listed struct {
	Name    string       `json:"name"`
	Version string       `json:"version"`
	State   serval.State `json:"state"`
	Reason  string       `json:"reason"`
}

// Info is what a server says of a model.
type Info struct {
	Name      string
	Versions  []string
	Platform  string
	Signature serval.Signature
	Recipe    *serval.Recipe  // nil if it has none
	Config    json.RawMessage // the whole configuration, as the server writes it; nil if it does not tell
}

// ModelStats are the statistics of one version of a model.
type ModelStats struct {
	Name    string
	Version string
	serval.Stats
	Raw json.RawMessage // as the server writes them
}

// Ready says whether the server is there and every model that should be served is.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/v2/health/ready", nil, nil)
}

// List lists every version of every model, also those that failed.
func (c *Client) List(ctx context.Context) ([]Listed, error) {
	var list []Listed
	err := c.call(ctx, http.MethodPost, "/v2/repository/index", map[string]any{}, &list)
	return list, err
}

// Load loads a model, or loads it anew, and returns when that has taken effect or failed.
func (c *Client) Load(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/v2/repository/models/"+url.PathEscape(name)+"/load", map[string]any{}, nil)
}

// Unload drains and unloads every version of a model.
func (c *Client) Unload(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/v2/repository/models/"+url.PathEscape(name)+"/unload", map[string]any{}, nil)
}

// Info describes a model: its signature from the metadata; recipe and optional inputs from the configuration, where the
// server has one to show.
func (c *Client) Info(ctx context.Context, ref serval.Ref) (*Info, error) {
	var meta struct {
		Name     string
		Versions []string
		Platform string
		Inputs   []wireInfo
		Outputs  []wireInfo
	}
	path := modelPath(ref, "")
	if err := c.call(ctx, http.MethodGet, path, nil, &meta); err != nil {
		return nil, err
	}
	info := &Info{Name: meta.Name, Versions: meta.Versions, Platform: meta.Platform}
	var err error
	if info.Signature.Inputs, err = tensorInfos(meta.Inputs); err != nil {
		return nil, c.garbled(path, err)
	}
	if info.Signature.Outputs, err = tensorInfos(meta.Outputs); err != nil {
		return nil, c.garbled(path, err)
	}
	path = modelPath(ref, "/config")
	if err := c.call(ctx, http.MethodGet, path, nil, &info.Config); err != nil {
		if code := serval.AsError(err).Code; code == serval.NotFound || code == serval.Unimplemented {
			return info, nil // configuration is an extension of the protocol
		}
		return nil, err
	}
	if err := info.readConfig(); err != nil {
		return nil, c.garbled(path, err)
	}
	return info, nil
}

// wireInfo is a tensor of a model's metadata.
type wireInfo struct {
	Name     string
	Datatype string
	Shape    []number
}

// number is a 64-bit integer, which some servers write as a string, as protobuf's JSON does.
type number int64

// UnmarshalJSON takes 3 and "3".
func (n *number) UnmarshalJSON(data []byte) error {
	v, err := strconv.ParseInt(string(bytes.Trim(data, `"`)), 10, 64)
	*n = number(v)
	return err
}

func tensorInfos(wire []wireInfo) ([]serval.TensorInfo, error) {
	list := make([]serval.TensorInfo, len(wire))
	for i, w := range wire {
		d, ok := serval.ParseDType(w.Datatype)
		if !ok {
			return nil, fmt.Errorf("tensor '%s' has the unknown datatype %q", w.Name, w.Datatype)
		}
		list[i] = serval.TensorInfo{Name: w.Name, DType: d, Shape: make([]int64, len(w.Shape))}
		for j, n := range w.Shape {
			list[i].Shape[j] = int64(n)
		}
	}
	return list, nil
}

// readConfig takes from the configuration what the metadata does not tell.
func (i *Info) readConfig() error {
	var config struct {
		Input []struct {
			Name     string
			Optional bool
		}
		Parameters map[string]json.RawMessage
	}
	if err := json.Unmarshal(i.Config, &config); err != nil {
		return err
	}
	for _, in := range config.Input {
		if at := i.Signature.Input(in.Name); at >= 0 {
			i.Signature.Inputs[at].Optional = in.Optional
		}
	}
	raw, ok := config.Parameters[serval.RecipeParameter]
	if !ok {
		return nil
	}
	var wrapped struct {
		Value string `json:"string_value"`
	}
	if json.Unmarshal(raw, &wrapped) != nil { // some servers leave the wrapping out
		if err := json.Unmarshal(raw, &wrapped.Value); err != nil {
			return err
		}
	}
	i.Recipe = new(serval.Recipe)
	if err := json.Unmarshal([]byte(wrapped.Value), i.Recipe); err != nil {
		return fmt.Errorf("parameter %s: %w", serval.RecipeParameter, err)
	}
	return i.Recipe.Check()
}

// Stats are the statistics of a model's versions, or of one; of all models if the Ref is empty.
func (c *Client) Stats(ctx context.Context, ref serval.Ref) ([]ModelStats, error) {
	path := "/v2/models/stats"
	if ref.Name != "" {
		path = modelPath(ref, "/stats")
	}
	var answer struct {
		Stats []json.RawMessage `json:"model_stats"`
	}
	if err := c.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return nil, err
	}
	list := make([]ModelStats, len(answer.Stats))
	for i, raw := range answer.Stats {
		var w wireStats
		if err := json.Unmarshal(raw, &w); err != nil {
			return nil, c.garbled(path, err)
		}
		list[i] = w.stats(raw)
	}
	return list, nil
}

type wireDuration struct{ Count, Ns number }

func (d wireDuration) stat() serval.StatDuration {
	return serval.StatDuration{Count: uint64(max(0, d.Count)), Total: time.Duration(d.Ns)}
}

// wireStats are Triton's statistics of a model's version.
type wireStats struct {
	Name, Version  string
	LastInference  number `json:"last_inference"` // milliseconds since 1970
	InferenceCount number `json:"inference_count"`
	ExecutionCount number `json:"execution_count"`
	InferenceStats struct {
		Success, Fail, Queue wireDuration
		Input                wireDuration `json:"compute_input"`
		Compute              wireDuration `json:"compute_infer"`
		Output               wireDuration `json:"compute_output"`
	} `json:"inference_stats"`
	BatchStats []struct {
		Size    number       `json:"batch_size"`
		Input   wireDuration `json:"compute_input"`
		Compute wireDuration `json:"compute_infer"`
		Output  wireDuration `json:"compute_output"`
	} `json:"batch_stats"`
	Serval struct { // absent from other servers
		Closed    map[string]uint64
		Rejected  map[string]uint64
		Waiting   int
		Instances int
		Sequences int
		Process   serval.ProcessStats
	}
}

func (w *wireStats) stats(raw json.RawMessage) ModelStats {
	s := ModelStats{Name: w.Name, Version: w.Version, Raw: raw, Stats: serval.Stats{
		Inferences: uint64(max(0, w.InferenceCount)), Executions: uint64(max(0, w.ExecutionCount)),
		Success: w.InferenceStats.Success.stat(), Fail: w.InferenceStats.Fail.stat(), Queue: w.InferenceStats.Queue.stat(),
		Input: w.InferenceStats.Input.stat(), Compute: w.InferenceStats.Compute.stat(), Output: w.InferenceStats.Output.stat(),
	}}
	own := &w.Serval
	s.Closed, s.Rejected, s.Waiting, s.Instances, s.Sequences = own.Closed, own.Rejected, own.Waiting, own.Instances, own.Sequences
	s.Process = own.Process
	if w.LastInference > 0 {
		s.LastInference = time.UnixMilli(int64(w.LastInference))
	}
	for _, b := range w.BatchStats {
		s.Batches = append(s.Batches, serval.BatchStat{Size: int(b.Size), Input: b.Input.stat(), Compute: b.Compute.stat(), Output: b.Output.stat()})
	}
	return s
}
