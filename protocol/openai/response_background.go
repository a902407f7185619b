package openai

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"serval"
	"serval/protocol"
)

// maxWaiting is how many responses may wait to be answered in the background.
const maxWaiting = 10_000

// width is how many responses are answered in the background at the same time.
const width = 4

// queue stores a response as queued, which is its acknowledgement, and has it answered.
func (p *Protocol) queue(w http.ResponseWriter, r *http.Request, answer *response, row *protocol.Response) error {
	if n := p.background.depth(); n >= maxWaiting {
		return serval.Errorf(serval.Unavailable, "%d responses wait to be answered in the background, which is the limit; try again later", n).After(time.Minute)
	}
	answer.Status = "queued"
	if err := p.put(r.Context(), row, answer); err != nil {
		return err
	}
	p.background.add(row)
	return write(w, answer)
}

func (b *background) depth() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

func (b *background) add(row *protocol.Response) {
	b.mu.Lock()
	b.waiting = append(b.waiting, row)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest that waits, with a context that stop cancels; nil if there is none.
func (b *background) next(ctx context.Context) (*protocol.Response, context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return nil, nil
	}
	row := b.waiting[0]
	b.waiting = b.waiting[1:]
	own, cancel := context.WithCancel(ctx)
	b.cancel[[2]string{row.Tenant, row.ID}] = cancel
	return row, own
}

func (b *background) ended(row *protocol.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := [2]string{row.Tenant, row.ID}
	if cancel := b.cancel[key]; cancel != nil {
		cancel()
		delete(b.cancel, key)
	}
}

// stop ends one that waits or runs.
func (b *background) stop(tenant, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, row := range b.waiting {
		if row.Tenant == tenant && row.ID == id {
			b.waiting = append(b.waiting[:i:i], b.waiting[i+1:]...)
			break
		}
	}
	if cancel := b.cancel[[2]string{tenant, id}]; cancel != nil {
		cancel()
	}
}

// Run answers responses in the background until ctx ends; those that are left then are answered after the next start, as are
// those of a process that was killed. It implements protocol.Worker.
func (p *Protocol) Run(ctx context.Context) {
	if p.backend.Responses == nil {
		return
	}
	if rows, err := p.backend.Responses.OpenResponses(ctx); err == nil {
		for _, row := range rows {
			p.background.add(row)
		}
	}
	var busy sync.WaitGroup
	defer busy.Wait()
	places := make(chan struct{}, width)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		row, own := p.background.next(ctx)
		if row == nil {
			<-places
			select {
			case <-p.background.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		busy.Go(func() {
			defer func() { <-places }()
			p.answerLater(ctx, own, row)
			p.background.ended(row)
		})
	}
}

// answerLater answers one; life is the server's, own ends when the response is cancelled, too.
func (p *Protocol) answerLater(life, own context.Context, row *protocol.Response) {
	var kept stored
	var body responseRequest
	if json.Unmarshal(row.Request, &kept) != nil || json.Unmarshal(kept.Request, &body) != nil {
		return // it was read when it was queued
	}
	answer := newResponse(row.ID, &body)
	answer.Created = row.Created
	if p.put(own, row, answer) != nil {
		return // it stays queued
	}
	s := &responder{response: answer}
	req := &serval.Request{ID: row.ID, Tenant: row.Tenant, Protocol: "openai"}
	var err error
	if req.Model, err = serval.ParseRef(body.Model); err == nil {
		var chat *serval.Chat
		if chat, err = p.chatOf(own, row.Tenant, &body, kept.Items); err == nil {
			s.told = chat.Logprobs != nil
			req.Input = chat
			err = p.backend.As(row.Tenant).Handle(own, req, s)
		}
	}
	if life.Err() != nil {
		return // the server stops: it stays open, and is answered at the next start
	}
	answer.end(s.finish, req.Usage, err)
	if _, gone := p.backend.Responses.Response(life, row.Tenant, row.ID); gone != nil {
		return // it was deleted meanwhile
	}
	_ = p.put(context.WithoutCancel(own), row, answer) // on a full disk it stays open, and is answered at the next start
}

// cancelResponse is POST /v1/responses/{id}/cancel.
func (p *Protocol) cancelResponse(w http.ResponseWriter, r *http.Request) error {
	row, err := p.row(r)
	if err != nil {
		return err
	}
	var answer response
	if err := json.Unmarshal(row.Body, &answer); err != nil {
		return err
	}
	if !answer.Background {
		return serval.Errorf(serval.InvalidArgument, "only a response in the background can be cancelled").At("response_id")
	}
	if row.Open {
		p.background.stop(row.Tenant, row.ID)
		answer.Status = "cancelled"
		if err := p.put(r.Context(), row, &answer); err != nil {
			return err
		}
	}
	return write(w, &answer)
}
