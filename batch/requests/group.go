package requests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"serval"
	"serval/protocol"
)

// A group is inference.net's way to have a few requests answered later: they come in one call, become a batch of their own, and
// their answers are told to a webhook, or asked for, all at once.

// maxGroupBody bounds what a webhook is told of a group, in bytes; answers beyond it are left out, and say so.
const maxGroupBody = 10 << 20

// generation is a request of a group and its answer.
type generation struct {
	ID       string          `json:"generationId"`
	State    string          `json:"state"` // Success or Failed; Pending while the group has not ended
	Message  string          `json:"stateMessage"`
	Request  json.RawMessage `json:"request"`
	Response json.RawMessage `json:"response"`
	Finished *time.Time      `json:"finishedAt"`
}

type groupBody struct {
	Event string    `json:"event"`
	Time  time.Time `json:"timestamp"`
	Group string    `json:"group_id"`
	Hook  string    `json:"webhook_id"`
	Data  groupData `json:"data"`
}

type groupData struct {
	Size        int64        `json:"group_size"`
	Status      string       `json:"status"`
	Generations []generation `json:"generations"`
}

// Group is what a group has come to.
func (s *Service) Group(ctx context.Context, tenant, id string) ([]byte, error) {
	b, err := s.o.Store.Batch(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if !b.Group {
		return nil, serval.Errorf(serval.NotFound, "'%s' is no group, but a batch; GET /v1/batches/%s shows it", id, id).At("group_id")
	}
	list, err := s.generations(ctx, b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		ID string `json:"group_id"`
		groupData
	}{b.ID, groupData{int64(len(list)), string(b.Status), list}})
}

// GroupBody is what a webhook is told of a group that has ended.
func (s *Service) GroupBody(ctx context.Context, e *protocol.Event) ([]byte, error) {
	b, err := s.o.Store.Batch(ctx, "", e.Subject)
	if err != nil {
		return nil, err
	}
	list, err := s.generations(ctx, b)
	if err != nil {
		return nil, err
	}
	out := groupBody{Event: e.Type, Time: e.Created.UTC(), Group: b.ID, Hook: e.Hook, Data: groupData{b.Total, string(b.Status), list}}
	body, err := json.Marshal(&out)
	for i := len(list) - 1; err == nil && len(body) > maxGroupBody && i >= 0; i-- {
		list[i].Request, list[i].Response, list[i].Message = nil, nil, "left out here: the group is larger than 10 MiB; its output file has it"
		body, err = json.Marshal(&out)
	}
	return body, err
}

// generations are a group's requests in their order, with their answers once there are any.
func (s *Service) generations(ctx context.Context, b *protocol.Batch) ([]generation, error) {
	answers := map[string]*outputLine{}
	for _, id := range []string{b.Output, b.ErrorFile} {
		if id == "" {
			continue
		}
		if err := s.lines(ctx, b.Tenant, id, func(raw []byte) error {
			l := &outputLine{}
			if err := json.Unmarshal(raw, l); err != nil {
				return err
			}
			answers[l.CustomID] = l
			return nil
		}); err != nil {
			return nil, err
		}
	}
	var list []generation
	err := s.lines(ctx, b.Tenant, b.Input, func(raw []byte) error {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil || l.CustomID == nil {
			return err
		}
		list = append(list, generationOf(b, &l, answers[*l.CustomID]))
		return nil
	})
	return list, err
}

type outputLine struct {
	ID       string `json:"id"`
	CustomID string `json:"custom_id"`
	Response *struct {
		Status int             `json:"status_code"`
		Body   json.RawMessage `json:"body"`
	} `json:"response"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

func generationOf(b *protocol.Batch, l *line, a *outputLine) generation {
	g := generation{State: "Failed", Message: "the group has ended: " + string(b.Status), Request: l.Body}
	if !b.Status.Ended() {
		g.State, g.Message = "Pending", "the group is "+string(b.Status)
	}
	if a == nil {
		return g
	}
	g.ID = a.ID
	if end := b.CompletedAt; !end.IsZero() {
		end = end.UTC()
		g.Finished = &end
	}
	switch {
	case a.Error != nil:
		g.Message = a.Error.Message
	case a.Response != nil && a.Response.Status == 200:
		g.State, g.Message, g.Response = "Success", "Generation successful", a.Response.Body
	case a.Response != nil:
		g.Message, g.Response = "the request was refused", a.Response.Body
	}
	return g
}

// lines calls take for each line of a file.
func (s *Service) lines(ctx context.Context, tenant, id string, take func([]byte) error) error {
	_, f, err := s.o.Files.OpenFile(ctx, tenant, id)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		raw, err := r.ReadBytes('\n')
		if raw = bytes.TrimSpace(raw); len(raw) > 0 {
			if err := take(raw); err != nil {
				return serval.Errorf(serval.Internal, "file %s: %w", id, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
