package route

import (
	"context"
	"errors"

	"serval"
)

// Models finds the handler of a version; registry implements it. It is called for every request: no locks, no allocation.
type Models interface {
	Find(serval.Ref) (target serval.Handler, version string, err error)
}

// Resolve turns the request's Ref into a version and its handler before the request goes on.
func Resolve(models Models, next serval.Handler) serval.Handler {
	return serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		// A model that is not there is the answer of Dispatch: the gateway must count and log it too.
		req.Asked = req.Model
		if target, version, err := models.Find(req.Model); err == nil {
			req.Target, req.Model.Version = target, version
		}
		return next.Handle(ctx, req, sink)
	})
}

// Dispatch hands the request to its version. A version that was retired since Resolve did nothing with the request, which
// then goes to its successor.
func Dispatch(models Models) serval.Handler {
	return serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		if req.Target != nil {
			if err := req.Target.Handle(ctx, req, sink); err == nil || !errors.Is(err, serval.ErrRetired) {
				return err
			}
		}
		for range 3 { // reloads that follow each other closely
			target, version, err := models.Find(req.Asked)
			if err != nil {
				return err
			}
			req.Target, req.Model = target, req.Asked
			req.Model.Version = version
			if err := target.Handle(ctx, req, sink); err == nil || !errors.Is(err, serval.ErrRetired) {
				return err
			}
		}
		return serval.Errorf(serval.Unavailable, "model '%s' is being replaced; try again", req.Model.Name)
	})
}
