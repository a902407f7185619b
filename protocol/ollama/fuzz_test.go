package ollama

import (
	"testing"

	"serval/protocol/protocoltest"
)

func FuzzBody(f *testing.F) {
	backend := protocoltest.Backend()
	backend.Puller = &fetching{}
	protocoltest.FuzzBody(f, New(backend),
		`{"model":"chat:latest","messages":[{"role":"user","content":"hi"}],"options":{"num_predict":3,"temperature":0},"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"think":"low"}`,
		`{"model":"chat","prompt":"x","stream":false,"format":{"type":"object"},"logprobs":true,"keep_alive":0}`, `{"model":"chat","prompt":"x","raw":true,"format":"json"}`,
		`{"model":"chat","input":["a"],"dimensions":3}`, `{"model":"chat","messages":[],"keep_alive":"0s"}`, `{"model":"hf.co/acme/net:Q4_0","stream":false}`,
		`null`, `[]`, ``,
	)
}
