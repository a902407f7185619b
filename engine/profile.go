package engine

import "time"

// Profiled is a Batcher that was opened with Spec.Profile and can say where its time went.
type Profiled interface {
	// Layers ends the profile and sums it up by layer, the slowest first.
	Layers() ([]Layer, error)
}

// Layer is a node of a model's graph.
type Layer struct {
	Name  string        `json:"name"`
	Op    string        `json:"op"`
	Runs  int           `json:"runs"`
	Time  time.Duration `json:"time_ns"` // of one run, mean
	Share float64       `json:"share"`   // of all layers together, 0 to 1
}
