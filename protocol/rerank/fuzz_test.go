package rerank

import (
	"testing"

	"serval/protocol/protocoltest"
)

func FuzzBody(f *testing.F) {
	protocoltest.FuzzBody(f, New(protocoltest.Backend()),
		`{"model":"chat","query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true}`, `{"query":"q","texts":["a"],"return_text":true}`, `{"query":"q","documents":[null]}`, `null`, `[]`, ``,
	)
}
