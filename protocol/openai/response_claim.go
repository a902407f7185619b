package openai

import (
	"context"
	"errors"
	"time"

	"serval/protocol"
)

// claimFor is after how long without a sign of life a server's response in the background is another's.
const claimFor = 30 * time.Second

// errLost says that another server answers a response by now.
var errLost = errors.New("another server has the response")

// claim takes a response for this server, where several share the store, and keeps it until release. mine is false if another has
// it, or if it is not open any more; the context ends with errLost if it is lost.
func (p *Protocol) claim(ctx context.Context, j *job) (own context.Context, release func(), mine bool) {
	claims, shared := p.backend.Responses.(protocol.Claims)
	if !shared {
		return ctx, func() {}, true
	}
	ok, err := claims.ClaimResponse(ctx, j.tenant, j.id, p.background.worker, claimFor)
	if err != nil {
		return ctx, nil, false
	}
	if !ok { // it may have ended: then the row says so, and nobody must wait
		row, err := p.backend.Responses.Response(ctx, j.tenant, j.id)
		return ctx, func() {}, err == nil && !row.Open
	}
	own, lose := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		p.keep(own, claims, j, lose)
	}()
	return own, func() {
		lose(nil)
		<-kept
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimFor/3)
		defer cancel()
		_, _ = claims.ClaimResponse(free, j.tenant, j.id, p.background.worker, 0) // else its time passes
	}, true
}

// keep prolongs a claim until ctx ends.
func (p *Protocol) keep(ctx context.Context, claims protocol.Claims, j *job, lose context.CancelCauseFunc) {
	tick := time.NewTicker(claimFor / 6)
	defer tick.Stop()
	for held := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		ask, cancel := context.WithTimeout(ctx, claimFor/6)
		ok, err := claims.ClaimResponse(ask, j.tenant, j.id, p.background.worker, claimFor)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && ok:
			held = began
		case err == nil || time.Since(held) > claimFor/2: // it is another's, or was cancelled by way of another server
			lose(errLost)
			return
		}
	}
}

// inherit looks now and then for open responses of servers that are no more.
func (p *Protocol) inherit(ctx context.Context) {
	tick := time.NewTicker(claimFor)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		rows, err := p.backend.Responses.OpenResponses(ctx)
		for i := 0; err == nil && i < len(rows); i++ {
			p.background.add(key{rows[i].Tenant, rows[i].ID})
		}
	}
}
