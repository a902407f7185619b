package anthropic

import (
	"testing"

	"serval/protocol/protocoltest"
)

func FuzzBody(f *testing.F) {
	protocoltest.FuzzBody(f, New(protocoltest.Backend()),
		`{"model":"chat","max_tokens":5,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"hi"}],"stream":true}`,
		`{"model":"chat","max_tokens":5,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"h"},{"type":"tool_use","id":"1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"x"}],"is_error":true}]}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any"}}`,
		`{"model":"chat","max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"redacted_thinking","data":"x"}]}]}`, `null`, `[]`, ``,
	)
}
