package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"serval"
	"serval/protocol"
)

// maxChain is how many earlier responses one may go on from.
const maxChain = 256

// stored is what is kept of a request beside the response: its items, and the request itself for one that is to be answered
// in the background.
type stored struct {
	Items   []json.RawMessage `json:"items"`
	Request json.RawMessage   `json:"request,omitempty"`
}

// respond is POST /v1/responses.
func (p *Protocol) respond(w http.ResponseWriter, r *http.Request) error {
	var body responseRequest
	text, err := p.bodies.Read(nil, r, p.backend.Config.MaxBody)
	if err != nil {
		return err
	}
	if err := protocol.DecodeObject(text, &body); err != nil {
		return err
	}
	if err := body.check(); err != nil {
		return err
	}
	items, err := body.items()
	if err != nil {
		return err
	}
	if p.backend.Responses == nil {
		if body.Background || body.Previous != nil || body.Store != nil && *body.Store {
			return serval.Errorf(serval.Unavailable, "this server cannot store responses: its data folder cannot be used; send store: false").At("store")
		}
		no := false
		body.Store = &no
	}
	tenant, fail := p.tenant(r, body.Background)
	if fail != nil {
		return fail
	}
	in, err := p.chatOf(r.Context(), tenant, &body, items)
	if err != nil {
		return err
	}
	req, err := p.request(w, r, body.Model, in)
	if err != nil {
		return err
	}
	keep := stored{Items: items}
	if body.Background {
		keep.Request = text
	}
	request, err := json.Marshal(keep)
	if err != nil {
		return err
	}
	answer := newResponse(protocol.NewID("resp_"), &body)
	row := &protocol.Response{Tenant: tenant, ID: answer.ID, Created: answer.Created, Request: request}
	if body.Background {
		return p.queue(w, r, answer, row)
	}
	s := &responder{response: answer, told: in.Logprobs != nil}
	if body.Stream {
		s.events = protocol.NewEvents(w)
		defer s.events.Close()
	}
	err = p.backend.Handler.Handle(r.Context(), req, s)
	if err != nil && (s.events == nil || !s.events.Begun()) {
		return err
	}
	// It is stored before the client hears that it is complete.
	final := *answer
	final.end(s.finish, req.Usage, err)
	if answer.Store {
		if err := p.put(context.WithoutCancel(r.Context()), row, &final); err != nil {
			if s.events != nil {
				s.failed(serval.AsError(err))
				return nil
			}
			return err
		}
	}
	if s.events != nil {
		s.done(req.Usage, err)
		return nil
	}
	return write(w, &final)
}

// tenant is the owner of the request's key. With admit, the request is taken from the key's rate, as it would be by the chain.
func (p *Protocol) tenant(r *http.Request, admit bool) (string, *serval.Error) {
	credential := protocol.Credential(r.Header)
	if admit {
		return p.backend.Admit(credential)
	}
	return p.backend.Tenant(credential)
}

// chatOf is the conversation that a request goes on with: that of the response before it, and its own items.
func (p *Protocol) chatOf(ctx context.Context, tenant string, body *responseRequest, items []json.RawMessage) (*serval.Chat, error) {
	chain := [][]json.RawMessage{items}
	size := int64(0)
	for id, n := body.Previous, 0; id != nil; n++ {
		if p.backend.Responses == nil || n == maxChain {
			return nil, serval.Errorf(serval.InvalidArgument, "previous_response_id: the conversation has more than %d responses", maxChain).At("previous_response_id")
		}
		row, err := p.backend.Responses.Response(ctx, tenant, *id)
		if err != nil {
			return nil, previousError(err, *id)
		}
		if size += int64(len(row.Request) + len(row.Body)); p.backend.Config.MaxBody > 0 && size > p.backend.Config.MaxBody {
			return nil, serval.Errorf(serval.TooLarge, "previous_response_id: the conversation has more than %d bytes", p.backend.Config.MaxBody).At("previous_response_id")
		}
		var before stored
		var answer struct {
			Status   string            `json:"status"`
			Output   []json.RawMessage `json:"output"`
			Previous *string           `json:"previous_response_id"`
		}
		if err := json.Unmarshal(row.Request, &before); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(row.Body, &answer); err != nil {
			return nil, err
		}
		if answer.Status != "completed" && answer.Status != "incomplete" {
			return nil, serval.Errorf(serval.InvalidArgument, "previous_response_id: the response '%s' is %s, so there is nothing to go on from", *id, answer.Status).At("previous_response_id")
		}
		chain = append(chain, answer.Output, before.Items)
		id = answer.Previous
	}
	var all []json.RawMessage
	for i := len(chain) - 1; i >= 0; i-- {
		all = append(all, chain[i]...)
	}
	return body.chat(all)
}

func previousError(err error, id string) error {
	if e := serval.AsError(err); e.Code != serval.NotFound {
		return e
	}
	return serval.Errorf(serval.NotFound, "previous_response_id: there is no response '%s'", id).At("previous_response_id").Named("previous_response_not_found")
}

func (p *Protocol) put(ctx context.Context, row *protocol.Response, answer *response) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	row.Body = body
	return p.backend.Responses.PutResponse(ctx, row)
}

// stored routes: GET, DELETE, cancel and input_items.

func (p *Protocol) row(r *http.Request) (*protocol.Response, error) {
	tenant, fail := p.backend.Tenant(protocol.Credential(r.Header))
	if fail != nil {
		return nil, fail
	}
	id := r.PathValue("id")
	if p.backend.Responses == nil {
		return nil, serval.Errorf(serval.NotFound, "there is no response '%s'", id).At("response_id")
	}
	return p.backend.Responses.Response(r.Context(), tenant, id)
}

func (p *Protocol) getResponse(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("stream") == "true" {
		return serval.Errorf(serval.InvalidArgument, "stream: a stored response is not streamed; ask for it whole").At("stream")
	}
	row, err := p.row(r)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, row.Body)
	return nil
}

func (p *Protocol) deleteResponse(w http.ResponseWriter, r *http.Request) error {
	row, err := p.row(r)
	if err != nil {
		return err
	}
	p.background.stop(key{row.Tenant, row.ID})
	if err := p.backend.Responses.DeleteResponse(r.Context(), row.Tenant, row.ID); err != nil {
		return err
	}
	return write(w, map[string]any{"id": row.ID, "object": "response", "deleted": true})
}

func (p *Protocol) inputItems(w http.ResponseWriter, r *http.Request) error {
	row, err := p.row(r)
	if err != nil {
		return err
	}
	var before stored
	if err := json.Unmarshal(row.Request, &before); err != nil {
		return err
	}
	ascending := r.URL.Query().Get("order") == "asc" // else the newest first
	list := make([]map[string]any, 0, len(before.Items))
	for n := range before.Items {
		i := n
		if !ascending {
			i = len(before.Items) - 1 - n
		}
		var item map[string]any
		if json.Unmarshal(before.Items[i], &item) != nil {
			continue
		}
		if item["id"] == nil {
			item["id"] = fmt.Sprintf("item_%s_%d", strings.TrimPrefix(row.ID, "resp_"), i)
		}
		if item["type"] == nil {
			item["type"] = "message"
		}
		list = append(list, item)
	}
	page := map[string]any{"object": "list", "data": list, "has_more": false, "first_id": nil, "last_id": nil}
	if n := len(list); n > 0 {
		page["first_id"], page["last_id"] = list[0]["id"], list[n-1]["id"]
	}
	return write(w, page)
}
