package openai

import (
	"testing"

	"serval/protocol/protocoltest"
)

func FuzzBody(f *testing.F) {
	protocoltest.FuzzBody(f, New(protocoltest.Backend()),
		`{"model":"chat","messages":[{"role":"user","content":"hi"}],"stream":true,"n":2,"logprobs":true,"top_logprobs":2,"stream_options":{"include_usage":true}}`,
		`{"model":"chat","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]},{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":{"type":"function","function":{"name":"f"}}}`,
		`{"model":"chat","prompt":["a",[1,2]],"echo":true,"logprobs":2,"stop":"x","logit_bias":{"5":-100},"response_format":{"type":"json_schema","json_schema":{"schema":{}}}}`,
		`{"model":"chat","input":["a","b"],"encoding_format":"base64"}`,
		`{"model":"chat","input":[{"role":"user","content":"x"},{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":"x"},{"type":"reasoning","content":[{"type":"reasoning_text","text":"h"}]}],"store":false,"stream":true}`,
		`{"model":"chat","functions":[{"name":"f"}],"function_call":"auto","messages":[{"role":"user","content":"x"}],"stream":true}`,
		`{"model":"chat","tokens":[1,2]}`, `{"content":"x","with_pieces":true}`, `{"inputs":"x"}`, `null`, `[]`, ``,
	)
}
