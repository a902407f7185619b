package server

import (
	"serval"
	"serval/gateway"
	"serval/registry"
	"serval/route"
)

// chain is what every request passes, whichever door it came by. Behind Dispatch stands the version's own part: task
// (checks, see loader.go), schedule (queue, batch) and engine.
func chain(models *registry.Registry, policy gateway.Options, observer gateway.Observer) (serval.Handler, *gateway.Gateway) {
	dispatch := route.Dispatch(models)
	gate := gateway.New(policy, dispatch, observer)
	return route.Resolve(models, gate), gate
}
