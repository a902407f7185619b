package tgi

import (
	"testing"

	"serval/protocol/protocoltest"
)

func FuzzBody(f *testing.F) {
	protocoltest.FuzzBody(f, New(protocoltest.Backend()),
		`{"inputs":"x","parameters":{"max_new_tokens":3,"details":true,"top_n_tokens":2,"grammar":{"type":"json","value":{"type":"object"}}},"stream":true}`,
		`{"inputs":"x","parameters":{"grammar":{"type":"regex","value":"a+"},"return_full_text":true,"seed":3}}`, `{"inputs":""}`, `null`, `[]`, ``,
	)
}
