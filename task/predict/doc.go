// Package predict is the task of models that take tensors and give tensors: it checks a request against the model's
// signature before anything is queued, so that an engine only ever sees calls that fit, and picks the outputs asked for.
//
// Called by route, calls schedule. It imports the root only.
package predict
