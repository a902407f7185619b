package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"serval"
	"serval/protocol"
)

// maxGroup is how many requests a group may have, as inference.net's.
const maxGroup = 50

// groupRequest is the body of POST /v1/slow/group/chat/completions: requests that are answered in the server's own time, as a batch
// without a file.
type groupRequest struct {
	Requests []json.RawMessage `json:"requests"`
	Hook     string            `json:"webhook_id"`
}

// group serves one endpoint's groups.
func (p *Protocol) group(endpoint string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var body groupRequest
		if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
			return err
		}
		if n := len(body.Requests); n == 0 || n > maxGroup {
			return serval.Errorf(serval.InvalidArgument, "requests has %d entries; a group has 1 to %d; a batch (POST /v1/batches) may have more", n, maxGroup).At("requests")
		}
		tenant, fail := p.tenant(r, true)
		if fail != nil {
			return fail
		}
		if p.backend.Batches == nil || p.backend.Files == nil {
			return noBatches()
		}
		id := protocol.NewID("group_")
		file, err := p.backend.Files.AddFile(r.Context(), func(to io.Writer) (*protocol.File, error) {
			for i, request := range body.Requests {
				line, err := groupLine(endpoint, i, request)
				if err == nil {
					_, err = to.Write(line)
				}
				if err != nil {
					return nil, err
				}
			}
			return &protocol.File{Tenant: tenant, Purpose: "batch", Name: id + ".jsonl"}, nil
		})
		if err != nil {
			return err
		}
		b := &protocol.Batch{Tenant: tenant, Endpoint: endpoint, Input: file.ID, Window: "72h", Hook: body.Hook, Group: true}
		if err := p.backend.Batches.SubmitBatch(r.Context(), b, ""); err != nil {
			_ = p.backend.Files.RemoveFile(r.Context(), tenant, file.ID) // it expires, else
			return err
		}
		return write(w, map[string]any{"id": b.ID, "group_id": b.ID, "object": "group", "status": b.Status, "group_size": len(body.Requests), "created_at": b.Created.Unix()})
	}
}

// groupLine is a request of a group as a line of a batch's input.
func groupLine(endpoint string, i int, request json.RawMessage) ([]byte, error) {
	var compact bytes.Buffer
	if !bytes.HasPrefix(bytes.TrimSpace(request), []byte("{")) || json.Compact(&compact, request) != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "requests[%d] must be a JSON object, a request as %s takes it", i, endpoint).At("requests")
	}
	return fmt.Appendf(nil, `{"custom_id":"%d","method":"POST","url":%q,"body":%s}`+"\n", i, endpoint, compact.Bytes()), nil
}

// generations is GET /v1/slow/group/{id}/generations: the requests of a group in their order, with their answers once it has ended.
func (p *Protocol) generations(w http.ResponseWriter, r *http.Request) error {
	batches, tenant, err := p.batches(r)
	if err != nil {
		return err
	}
	body, err := batches.Group(r.Context(), tenant, r.PathValue("id"))
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, body)
	return nil
}
