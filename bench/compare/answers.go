package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"

	"serval/bench/load"
)

// sameAnswers asks every server but the floor the same questions and fails where their answers differ: a comparison of
// servers that compute something else would be worth nothing.
func sameAnswers(ctx context.Context, w *workload, list []*server) error {
	payloads, err := w.payloads(load.JSON)
	if err != nil {
		return err
	}
	for _, p := range payloads {
		var first *server
		var want float64
		for _, s := range list {
			if s.key == "floor" {
				continue
			}
			got, err := ask(ctx, s, w.name, p.Bytes)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			if first == nil {
				first, want = s, got
			}
			if math.Abs(got-want) > 1e-5 {
				return fmt.Errorf("%s answers %v, %s answers %v", s.Name, got, first.Name, want)
			}
		}
	}
	return nil
}

func ask(ctx context.Context, s *server, model string, body []byte) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.rest+"/v2/models/"+model+"/infer", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	var reply struct {
		Error   any
		Outputs []struct{ Data []float64 }
	}
	if err := json.NewDecoder(answer.Body).Decode(&reply); err != nil {
		return 0, fmt.Errorf("%s: %w", answer.Status, err)
	}
	if len(reply.Outputs) != 1 || len(reply.Outputs[0].Data) != 1 {
		return 0, fmt.Errorf("%s: %v, want one output of one value", answer.Status, reply)
	}
	return reply.Outputs[0].Data[0], nil
}
