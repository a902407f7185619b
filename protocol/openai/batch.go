package openai

import (
	"encoding/json"
	"net/http"
	"time"

	"serval"
	"serval/protocol"
)

// batchRequest is the body of POST /v1/batches.
type batchRequest struct {
	Input    string            `json:"input_file_id"`
	Endpoint string            `json:"endpoint"`
	Window   string            `json:"completion_window"`
	Metadata map[string]string `json:"metadata"`
	Expires  *struct {
		Anchor  string `json:"anchor"`
		Seconds int64  `json:"seconds"`
	} `json:"output_expires_after"`
	Hook json.RawMessage `json:"webhook_url"` // inference.net's
}

// batchObject is a batch as clients see it.
type batchObject struct {
	ID         string            `json:"id"`
	Object     string            `json:"object"`
	Endpoint   string            `json:"endpoint"`
	Model      *string           `json:"model"`
	Errors     *batchErrors      `json:"errors"`
	Input      string            `json:"input_file_id"`
	Window     string            `json:"completion_window"`
	Status     string            `json:"status"`
	Output     *string           `json:"output_file_id"`
	ErrorFile  *string           `json:"error_file_id"`
	Created    int64             `json:"created_at"`
	InProgress *int64            `json:"in_progress_at"`
	Expires    *int64            `json:"expires_at"`
	Finalizing *int64            `json:"finalizing_at"`
	Completed  *int64            `json:"completed_at"`
	Failed     *int64            `json:"failed_at"`
	Expired    *int64            `json:"expired_at"`
	Cancelling *int64            `json:"cancelling_at"`
	Cancelled  *int64            `json:"cancelled_at"`
	Counts     batchCounts       `json:"request_counts"`
	Usage      batchUsage        `json:"usage"`
	Metadata   map[string]string `json:"metadata"`
}

type batchErrors struct {
	Object string       `json:"object"`
	Data   []batchError `json:"data"`
}

type batchError struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Line    *int64  `json:"line"`
}

type batchCounts struct {
	Total     int64 `json:"total"`
	Completed int64 `json:"completed"`
	Failed    int64 `json:"failed"`
}

type batchUsage struct {
	Input   int64 `json:"input_tokens"`
	InputIn struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output   int64 `json:"output_tokens"`
	OutputIn struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int64 `json:"total_tokens"`
}

// text is nil for the empty one.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func batchOf(b *protocol.Batch) *batchObject {
	o := &batchObject{
		ID: b.ID, Object: "batch", Endpoint: b.Endpoint, Model: text(b.Model), Input: b.Input, Window: b.Window, Status: string(b.Status),
		Output: text(b.Output), ErrorFile: text(b.ErrorFile), Created: b.Created.Unix(), InProgress: seconds(b.InProgressAt), Expires: seconds(b.Expires),
		Finalizing: seconds(b.FinalizingAt), Completed: seconds(b.CompletedAt), Failed: seconds(b.FailedAt), Expired: seconds(b.ExpiredAt),
		Cancelling: seconds(b.CancellingAt), Cancelled: seconds(b.CancelledAt), Counts: batchCounts{b.Total, b.Completed, b.Failed}, Metadata: b.Metadata,
	}
	u := &o.Usage
	u.Input, u.Output, u.Total = b.Usage.Prompt, b.Usage.Completion, b.Usage.Prompt+b.Usage.Completion
	u.InputIn.Cached, u.OutputIn.Reasoning = b.Usage.Cached, b.Usage.Reasoning
	if len(b.Errors) > 0 {
		o.Errors = &batchErrors{Object: "list"}
		for _, e := range b.Errors {
			wrong := batchError{Code: e.Code, Message: e.Message, Param: text(e.Param)}
			if e.Line > 0 {
				wrong.Line = &e.Line
			}
			o.Errors.Data = append(o.Errors.Data, wrong)
		}
	}
	return o
}

func noBatches() error {
	return serval.Errorf(serval.Unimplemented, "this server takes no batches: its data folder cannot be used; its log says why")
}

// batches is where they are done, for the owner of the request's key.
func (p *Protocol) batches(r *http.Request) (protocol.Batches, string, error) {
	tenant, fail := p.tenant(r, false)
	switch {
	case fail != nil:
		return nil, "", fail
	case p.backend.Batches == nil:
		return nil, "", noBatches()
	}
	return p.backend.Batches, tenant, nil
}

// createBatch is POST /v1/batches. It takes one request from the key's rate; those of the file wait for what online ones leave of it.
func (p *Protocol) createBatch(w http.ResponseWriter, r *http.Request) error {
	var body batchRequest
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	tenant, fail := p.tenant(r, true)
	if fail != nil {
		return fail
	}
	if p.backend.Batches == nil {
		return noBatches()
	}
	switch {
	case raw(body.Hook) != "":
		return serval.Errorf(serval.InvalidArgument, "webhook_url is not taken: this server's operator configures webhooks, and metadata.webhook_id names one").At("webhook_url")
	case body.Window == "":
		return serval.Errorf(serval.InvalidArgument, "completion_window is missing; write 24h").At("completion_window")
	}
	b := &protocol.Batch{Tenant: tenant, Endpoint: body.Endpoint, Input: body.Input, Window: body.Window, Metadata: body.Metadata, Hook: body.Metadata["webhook_id"]}
	if e := body.Expires; e != nil {
		if e.Anchor != "created_at" {
			return serval.Errorf(serval.InvalidArgument, "output_expires_after.anchor is %.50q; it must be created_at", e.Anchor).At("output_expires_after.anchor")
		}
		if e.Seconds < leastExpiry || e.Seconds > mostExpiry {
			return serval.Errorf(serval.InvalidArgument, "output_expires_after.seconds is %d; it must be between %d (an hour) and %d (30 days)", e.Seconds, leastExpiry, mostExpiry).At("output_expires_after.seconds")
		}
		b.OutputKeep = time.Duration(e.Seconds) * time.Second
	}
	if err := p.backend.Batches.SubmitBatch(r.Context(), b, r.Header.Get("Idempotency-Key")); err != nil {
		return err
	}
	return write(w, batchOf(b))
}

// getBatch is GET /v1/batches/{id}.
func (p *Protocol) getBatch(w http.ResponseWriter, r *http.Request) error {
	batches, tenant, err := p.batches(r)
	if err != nil {
		return err
	}
	b, err := batches.Batch(r.Context(), tenant, r.PathValue("id"))
	if err != nil {
		return err
	}
	return write(w, batchOf(b))
}

// cancelBatch is POST /v1/batches/{id}/cancel.
func (p *Protocol) cancelBatch(w http.ResponseWriter, r *http.Request) error {
	batches, tenant, err := p.batches(r)
	if err != nil {
		return err
	}
	b, err := batches.CancelBatch(r.Context(), tenant, r.PathValue("id"))
	if err != nil {
		return err
	}
	return write(w, batchOf(b))
}

// listBatches is GET /v1/batches.
func (p *Protocol) listBatches(w http.ResponseWriter, r *http.Request) error {
	batches, tenant, err := p.batches(r)
	if err != nil {
		return err
	}
	limit, err := limitOf(r, 20, 100)
	if err != nil {
		return err
	}
	list, err := batches.Batches(r.Context(), protocol.BatchFilter{Tenant: tenant, After: r.URL.Query().Get("after"), Limit: limit + 1})
	if err != nil {
		return err
	}
	out := page{Object: "list", Data: []any{}, More: len(list) > limit}
	for _, b := range list[:min(limit, len(list))] {
		out.add(b.ID, batchOf(b))
	}
	return write(w, &out)
}
