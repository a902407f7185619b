package openai

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"serval"
	"serval/protocol"
)

// Bounds of the work in the background: how many responses wait in all and of one tenant, how many are answered at the same
// time, how long one is put off that cannot be answered now, and how often.
const (
	maxWaiting = 10_000
	maxOfOne   = 1_000
	width      = 4
	putOff     = 5 * time.Second
	maxTries   = 120
)

// key names a stored response.
type key struct{ tenant, id string }

// job is a response that is to be answered in the background.
type job struct {
	key
	tries  int
	cancel context.CancelFunc // of one that runs
}

// background knows the responses that nobody waits for; their rows stay in the store until one's turn comes. Tenants take
// turns. Run owns the goroutines.
type background struct {
	mu      sync.Mutex
	wake    chan struct{} // has room for one
	known   map[key]*job  // those that wait, run, or are put off
	waiting map[string][]*job
	turns   []string // tenants that wait, the next one first
	worker  string   // tells this process from others that share the store
}

func newBackground() background {
	return background{wake: make(chan struct{}, 1), known: map[key]*job{}, waiting: map[string][]*job{}, worker: rand.Text()}
}

// room says why no more can wait.
func (b *background) room(tenant string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.known); n >= maxWaiting {
		return serval.Errorf(serval.Unavailable, "%d responses wait to be answered in the background, which is the limit; try again later", n).After(time.Minute)
	}
	if n := len(b.waiting[tenant]); n >= maxOfOne {
		return serval.Errorf(serval.ResourceExhausted, "%d of your responses wait to be answered in the background, which is the limit; try again later", n).After(time.Minute)
	}
	return nil
}

// add takes one in, unless it is known.
func (b *background) add(k key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known[k] == nil {
		b.known[k] = &job{key: k}
		b.line(b.known[k])
	}
}

// line puts a job behind its tenant's others. b.mu is held.
func (b *background) line(j *job) {
	if len(b.waiting[j.tenant]) == 0 {
		b.turns = append(b.turns, j.tenant)
	}
	b.waiting[j.tenant] = append(b.waiting[j.tenant], j)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// next takes the job whose turn it is, with a context that stop cancels; nil if none waits.
func (b *background) next(ctx context.Context) (*job, context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.turns) == 0 {
		return nil, nil
	}
	tenant := b.turns[0]
	b.turns = b.turns[1:]
	list := b.waiting[tenant]
	j := list[0]
	if len(list) > 1 {
		b.waiting[tenant] = list[1:]
		b.turns = append(b.turns, tenant)
	} else {
		delete(b.waiting, tenant)
	}
	ctx, j.cancel = context.WithCancel(ctx)
	return j, ctx
}

// ended forgets a job, or puts it off.
func (b *background) ended(j *job, again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	j.cancel()
	j.cancel = nil
	if j.tries++; !again || b.known[j.key] != j {
		delete(b.known, j.key)
		return
	}
	time.AfterFunc(putOff, func() { // it only puts into a list: nobody needs to wait for it
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.known[j.key] == j {
			b.line(j)
		}
	})
}

// stop ends one that waits or runs.
func (b *background) stop(k key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	j := b.known[k]
	if j == nil {
		return
	}
	delete(b.known, k)
	if j.cancel != nil {
		j.cancel()
		return
	}
	list := b.waiting[k.tenant]
	for i := range list {
		if list[i] == j {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	b.waiting[k.tenant] = list
	if len(list) > 0 {
		return
	}
	delete(b.waiting, k.tenant)
	for i, tenant := range b.turns {
		if tenant == k.tenant {
			b.turns = append(b.turns[:i:i], b.turns[i+1:]...)
			return
		}
	}
}

// queue stores a response as queued, which is its acknowledgement, and has it answered.
func (p *Protocol) queue(w http.ResponseWriter, r *http.Request, answer *response, row *protocol.Response) error {
	if err := p.background.room(row.Tenant); err != nil {
		return err
	}
	ref, err := serval.ParseRef(answer.Model)
	if err != nil {
		return err
	}
	if _, err := p.backend.Models.Model(ref); err != nil {
		return err
	}
	answer.Status, row.Open = "queued", true
	if row.Body, err = json.Marshal(answer); err != nil {
		return err
	}
	if err := p.backend.Responses.PutResponse(r.Context(), row); err != nil {
		return err
	}
	p.background.add(key{row.Tenant, row.ID})
	return write(w, answer)
}

// Run answers responses in the background until ctx ends; those that are left then are answered after the next start, as are
// those of a process that was killed. It implements protocol.Worker.
func (p *Protocol) Run(ctx context.Context) {
	if p.backend.Responses == nil {
		return
	}
	for {
		rows, err := p.backend.Responses.OpenResponses(ctx)
		if err == nil {
			for _, row := range rows {
				p.background.add(key{row.Tenant, row.ID})
			}
			break
		}
		select { // a store that is busy
		case <-time.After(putOff):
		case <-ctx.Done():
			return
		}
	}
	var busy sync.WaitGroup
	defer busy.Wait()
	if _, shared := p.backend.Responses.(protocol.Claims); shared {
		busy.Go(func() { p.inherit(ctx) })
	}
	places := make(chan struct{}, width)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		j, own := p.background.next(ctx)
		if j == nil {
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
			again := p.answerLater(ctx, own, j)
			p.background.ended(j, again)
		})
	}
}

// answerLater answers one; life is the server's, own ends when the response is cancelled, too. It reports true if the response
// is still open and should be tried again.
func (p *Protocol) answerLater(life, own context.Context, j *job) (again bool) {
	own, release, mine := p.claim(own, j)
	if !mine {
		return true // another server may be at it; the row says when it has ended
	}
	defer release()
	row, err := p.backend.Responses.Response(own, j.tenant, j.id)
	if err != nil {
		return serval.AsError(err).Code != serval.NotFound
	}
	var kept stored
	var body responseRequest
	if !row.Open || json.Unmarshal(row.Request, &kept) != nil || json.Unmarshal(kept.Request, &body) != nil {
		return false
	}
	answer := newResponse(row.ID, &body)
	answer.Created = row.Created
	if there, err := p.update(own, row, answer); err != nil || !there {
		return err != nil
	}
	s := &responder{response: answer}
	usage, err := p.work(own, row, &body, &kept, s)
	if errors.Is(context.Cause(own), errLost) {
		return true
	}
	if life.Err() != nil {
		return false // the server stops: it stays open, and is answered at the next start
	}
	if e := serval.AsError(err); e != nil && (e.Code == serval.Unavailable || e.Code == serval.ResourceExhausted) && j.tries < maxTries {
		return true
	}
	answer.end(s.finish, usage, err)
	_, err = p.update(context.WithoutCancel(own), row, answer)
	return err != nil // a full disk, say
}

// work makes the answer.
func (p *Protocol) work(ctx context.Context, row *protocol.Response, body *responseRequest, kept *stored, s *responder) (usage serval.Usage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	req := &serval.Request{ID: row.ID, Tenant: row.Tenant, Protocol: "openai"}
	if req.Model, err = serval.ParseRef(body.Model); err != nil {
		return usage, err
	}
	chat, err := p.chatOf(ctx, row.Tenant, body, kept.Items)
	if err != nil {
		return usage, err
	}
	s.told = chat.Logprobs != nil
	req.Input = chat
	err = p.backend.As(row.Tenant).Handle(ctx, req, s)
	return req.Usage, err
}

// update stores what became of an open response; false if it is not open any more.
func (p *Protocol) update(ctx context.Context, row *protocol.Response, answer *response) (bool, error) {
	body, err := json.Marshal(answer)
	if err != nil {
		return false, err
	}
	row.Body, row.Open = body, answer.Status == "queued" || answer.Status == "in_progress"
	return p.backend.Responses.UpdateResponse(ctx, row)
}

// cancelResponse is POST /v1/responses/{id}/cancel. One that has ended meanwhile stays as it ended.
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
		answer.Status = "cancelled"
		if _, err := p.update(r.Context(), row, &answer); err != nil {
			return err
		}
		p.background.stop(key{row.Tenant, row.ID})
		if row, err = p.row(r); err != nil {
			return err
		}
	}
	protocol.WriteJSON(w, http.StatusOK, row.Body)
	return nil
}
