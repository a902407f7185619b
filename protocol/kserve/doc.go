// Package kserve speaks KServe's first protocol: GET /v1/models, GET /v1/models/{model}, POST /v1/models/{model}:predict
// with {"instances":[…]} (rows) or {"inputs":…} (columns) → {"predictions":…}.
//
// Called by server. It imports the root, protocol and internal/jsontensor.
package kserve
