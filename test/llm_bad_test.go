package test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// badChat is a request that must be refused. The message names the field, as that dialect calls it, and what to do.
type badChat struct {
	name, path, body string
	code             int
	words            []string
}

const (
	openaiChat = "/v1/chat/completions"
	messages   = "/v1/messages"
	responses  = "/v1/responses"
)

// say is a chat with a message and other fields.
func say(fields string) string {
	return `{"model":"chat","messages":[{"role":"user","content":"hi"}],` + fields + `}`
}

// saySchema is a chat whose answer must fit a schema.
func saySchema(schema string) string {
	return say(`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":` + schema + `}}`)
}

// talk is a chat of these messages.
func talk(messages string) string {
	return `{"model":"chat","max_tokens":4,"messages":[` + messages + `]}`
}

func badChats() []badChat {
	long := strings.Repeat("word ", 1<<20/5)
	var bias strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&bias, `,"%d":1`, i)
	}
	tooMany := `"logit_bias":{` + bias.String()[1:] + `}`
	near := []string{"'chta' is not found", "did you mean 'chat'?"}
	image := `{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,"}}]}`
	return []badChat{
		{"empty messages", openaiChat, talk(""), 400, []string{"messages is empty", "at least one"}},
		{"no messages", openaiChat, `{"model":"chat"}`, 400, []string{"messages is empty"}},
		{"empty messages", messages, talk(""), 400, []string{"messages", "at least one"}},
		{"empty input", responses, `{"model":"chat","input":[]}`, 400, []string{"input is empty"}},
		{"no prompt", "/v1/completions", `{"model":"chat","prompt":[]}`, 400, []string{"prompt is missing"}},
		{"no texts", "/v1/embeddings", `{"model":"chat","input":[]}`, 400, []string{"input is empty", "at least one"}},
		{"no documents", "/v2/rerank", `{"model":"chat","query":"x","documents":[]}`, 400, []string{"documents is empty", "at least one"}},

		{"unknown model", openaiChat, strings.Replace(say(`"n":1`), `"chat"`, `"chta"`, 1), 404, near},
		{"unknown model", messages, `{"model":"chta","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, 404, near},
		{"unknown model", responses, `{"model":"chta","input":"hi"}`, 404, near},
		{"unknown model, in the background", responses, `{"model":"chta","input":"hi","background":true}`, 404, near},
		{"unknown model", "/v1/completions", `{"model":"chta","prompt":"hi"}`, 404, near},
		{"unknown model", "/v1/embeddings", `{"model":"chta","input":"hi"}`, 404, near},
		{"unknown model", "/api/chat", `{"model":"chta","messages":[{"role":"user","content":"hi"}]}`, 404, near},
		{"unknown model", "/v2/rerank", `{"model":"chta","query":"x","documents":["a"]}`, 404, near},
		{"unknown model", "/tokenize", `{"model":"chta","prompt":"hi"}`, 404, near},
		{"unknown model", "/v2/models/chta/generate", `{"text_input":"hi"}`, 404, near},

		{"unknown role", openaiChat, talk(`{"role":"wizard","content":"x"}`), 400, []string{"messages[0].role", "wizard", "system, developer, user, assistant, tool"}},
		{"a tool's answer first", openaiChat, talk(`{"role":"tool","tool_call_id":"a","content":"x"},{"role":"user","content":"x"}`), 400, []string{"messages", "'a'", "send the call"}},
		{"the answer to another call", openaiChat, talk(`{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"b","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"x"}`), 400, []string{"messages", "'a'", "message 2"}},
		{"a tool's answer after the turn", openaiChat, talk(`{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"user","content":"x"},{"role":"tool","tool_call_id":"a","content":"x"}`), 400, []string{"messages", "'a'", "does not follow"}},
		{"a result of no call", messages, talk(`{"role":"user","content":[{"type":"tool_result","tool_use_id":"q","content":"x"}]}`), 400, []string{"messages.0.content.0", "'q'", "send it"}},
		{"the user twice, for a template that minds", openaiChat, `{"model":"other","messages":[{"role":"user","content":"x"},{"role":"user","content":"x"}]}`, 400, []string{"messages", "the chat template of model 'other'", "roles must alternate"}},
		{"the assistant first, for a template that minds", messages, `{"model":"other","max_tokens":4,"messages":[{"role":"assistant","content":"x"},{"role":"user","content":"x"}]}`, 400, []string{"messages", "roles must alternate"}},
		{"system among messages", messages, talk(`{"role":"system","content":"x"}`), 400, []string{"messages.0.role", "user or assistant"}},
		{"an output of no call", responses, `{"model":"chat","input":[{"type":"function_call_output","call_id":"q","output":"x"}]}`, 400, []string{"input[0]", "'q'", "previous_response_id"}},
		{"to go on with the user's", openaiChat, say(`"continue_final_message":true`), 400, []string{"assistant", "user"}},

		{"1 MB", openaiChat, talk(`{"role":"user","content":"` + long + `"}`), 400, []string{"messages", "context_length_exceeded", "shorten it"}},
		{"1 MB of one letter", openaiChat, talk(`{"role":"user","content":"` + strings.Repeat("x", 1<<20) + `"}`), 400, []string{"messages", "shorten it"}},
		{"1 MB", messages, talk(`{"role":"user","content":"` + long + `"}`), 400, []string{"messages", "shorten it"}},
		{"1 MB", responses, `{"model":"chat","input":"` + long + `"}`, 400, []string{"context_length_exceeded", "shorten it"}},
		{"1 MB", "/v1/completions", `{"model":"chat","prompt":"` + long + `"}`, 400, []string{`"param":"prompt"`, "shorten it by at least"}},
		{"1 MB", "/v1/embeddings", `{"model":"chat","input":["a","` + long + `"]}`, 400, []string{"input[1]", "too long"}},
		{"1 MB", "/v2/models/chat/generate", `{"text_input":"` + long + `"}`, 400, []string{"the prompt has", "shorten it by at least"}},
		{"1 MB", "/api/generate", `{"model":"chat","prompt":"` + long + `"}`, 400, []string{"shorten it"}},
		{"1 MB", "/v1/rerank", `{"model":"chat","query":"x","documents":["` + long + `"]}`, 400, []string{"documents[0]", "too long"}},

		{"no schema", openaiChat, say(`"response_format":{"type":"json_schema","json_schema":{"name":"x"}}`), 400, []string{"response_format.json_schema.schema is missing"}},
		{"a type that is none", openaiChat, saySchema(`{"type":"objekt"}`), 400, []string{"response_format.json_schema.schema", "#/type", "string, integer"}},
		{"a schema that is none", openaiChat, saySchema(`7`), 400, []string{"response_format.json_schema.schema"}},
		{"a type that is none", responses, `{"model":"chat","input":"x","text":{"format":{"type":"json_schema","name":"x","schema":{"type":"objekt"}}}}`, 400, []string{"text.format.schema", "#/type"}},
		{"a type that is none", "/api/chat", say(`"format":{"type":"objekt"}`), 400, []string{"format", "#/type"}},
		{"a keyword that cannot be held", openaiChat, saySchema(`{"not":{"type":"object"}}`), 400, []string{"#/not", "not supported", "instead"}},
		{"a contradiction", openaiChat, saySchema(`{"type":"object","properties":{},"required":["a"],"additionalProperties":false}`), 400, []string{"#/additionalProperties", "contradicts"}},
		{"a reference to nothing", openaiChat, saySchema(`{"$ref":"#/$defs/a"}`), 400, []string{"#/$defs/a", "leads nowhere"}},
		{"a schema that is itself", openaiChat, saySchema(`{"$ref":"#"}`), 400, []string{"refers to itself"}},
		{"two that are each other", openaiChat, saySchema(`{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`), 400, []string{"#/$defs/a", "refers to itself"}},
		{"a value without end", openaiChat, saySchema(`{"$defs":{"n":{"type":"object","properties":{"c":{"$ref":"#/$defs/n"}},"required":["c"],"additionalProperties":false}},"$ref":"#/$defs/n"}`), 400, []string{"#/$defs/n/properties/c", "never ends"}},
		{"a regex that is none", openaiChat, say(`"guided_regex":"(a"`), 400, []string{"guided_regex", "character 1"}},
		{"a grammar without its rule", openaiChat, say(`"guided_grammar":"root ::= foo"`), 400, []string{"guided_grammar", "foo"}},
		{"a tool's schema", openaiChat, say(`"tool_choice":"required","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"objekt"}}}]`), 400, []string{"tools[0].function.parameters", "object"}},

		{"bad UTF-8", openaiChat, talk("{\"role\":\"user\",\"content\":\"\xff\"}"), 400, []string{"UTF-8", "byte"}},
		{"bad UTF-8", messages, talk("{\"role\":\"user\",\"content\":\"\xc3\x28\"}"), 400, []string{"UTF-8", "byte"}},
		{"bad UTF-8", responses, "{\"model\":\"chat\",\"input\":\"\xed\xa0\x80\"}", 400, []string{"UTF-8", "byte"}},
		{"bad UTF-8", "/v1/embeddings", "{\"model\":\"chat\",\"input\":\"\xf8\"}", 400, []string{"UTF-8", "byte"}},
		{"bad UTF-8", "/api/generate", "{\"model\":\"chat\",\"prompt\":\"\xff\"}", 400, []string{"UTF-8", "byte"}},
		{"bad UTF-8", "/v2/models/chat/generate", "{\"text_input\":\"\xff\"}", 400, []string{"UTF-8", "byte"}},

		{"negative", openaiChat, say(`"max_tokens":-1`), 400, []string{`"param":"max_tokens"`, "max_tokens is -1", "must not be negative"}},
		{"negative", openaiChat, say(`"max_completion_tokens":-1`), 400, []string{`"param":"max_completion_tokens"`, "max_completion_tokens is -1"}},
		{"negative", "/v1/completions", `{"model":"chat","prompt":"x","max_tokens":-1}`, 400, []string{"max_tokens is -1"}},
		{"negative", responses, `{"model":"chat","input":"x","max_output_tokens":-1}`, 400, []string{"max_output_tokens is -1"}},
		{"negative", messages, say(`"max_tokens":-1`), 400, []string{"max_tokens: -1", "at least 1"}},
		{"negative", "/v2/models/chat/generate", `{"text_input":"x","max_tokens":-1}`, 400, []string{"max_tokens is -1"}},
		{"n=100", openaiChat, say(`"n":100`), 400, []string{"n is 100", "between 1 and 16"}},
		{"n=100", "/v1/completions", `{"model":"chat","prompt":"x","n":100}`, 400, []string{"n is 100", "between 1 and 16"}},
		{"n=0", openaiChat, say(`"n":0`), 400, []string{"n is 0", "between 1 and 16"}},
		{"logit_bias of 100,000", openaiChat, say(tooMany), 400, []string{"logit_bias", "100000", "too many"}},
		{"logit_bias of 100,000", "/v1/completions", `{"model":"chat","prompt":"x",` + tooMany + `}`, 400, []string{"logit_bias", "too many"}},
		{"logit_bias of no token", openaiChat, say(`"logit_bias":{"99999999":1}`), 400, []string{"logit_bias", "99999999", "0 to 49151"}},

		{"no way to name one of two", "/generate", `{"inputs":"x"}`, 422, []string{"several", "/v1/completions"}},

		{"an image", openaiChat, talk(image), 400, []string{"messages", "image_url", "text only"}},
		{"an image", messages, talk(`{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":""}}]}`), 400, []string{"messages.0.content.0", "image", "text"}},
		{"an image", responses, `{"model":"chat","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:,"}]}]}`, 400, []string{"input_image", "text only"}},
		{"an image", "/api/chat", talk(`{"role":"user","content":"x","images":["aGk="]}`), 400, []string{"images", "text only"}},
	}
}

// TestBadChats: what must be refused is, with a reason that names the field and the way out, and neither that model nor its
// neighbour notices.
func TestBadChats(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"chat", "other"} {
		link(t, filepath.Join(chatModels(t), "chat", "1"), filepath.Join(root, name, "1"))
		write(t, filepath.Join(root, name, "model.yaml"), "threads: 1\ntext: {context: 512, slots: 2}\n")
	}
	write(t, filepath.Join(root, "other", "model.yaml"), "threads: 1\ntext: {context: 512, slots: 2, template: strict.jinja}\n")
	write(t, filepath.Join(root, "other", "strict.jinja"), "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user/assistant') }}{% endif %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	alive := hosts(t, s.Cmd.Process.Pid)
	good := func(t *testing.T, model string) {
		t.Helper()
		ask(t, "POST", s.URL("/v1/completions"), `{"model":"`+model+`","prompt":"a","max_tokens":1}`).want(t, 200, `"length"`)
	}
	for _, b := range badChats() {
		t.Run(b.name+b.path, func(t *testing.T) {
			a := ask(t, "POST", s.URL(b.path), b.body)
			a.want(t, b.code, b.words...)
			if !json.Valid([]byte(a.body)) || len(a.body) > 4096 {
				t.Errorf("%d bytes that are no short JSON: %s", len(a.body), clip(a.body))
			}
			good(t, "other")
		})
	}
	good(t, "chat")
	// One of 1 MB that nobody waits for ends with the reason.
	var later struct{ ID, Status string }
	a := ask(t, "POST", s.URL(responses), `{"model":"chat","background":true,"input":"`+strings.Repeat("word ", 1<<20/5)+`"}`)
	if err := json.Unmarshal([]byte(a.body), &later); err != nil || a.code != 200 {
		t.Fatalf("%d %s", a.code, clip(a.body))
	}
	await(t, "it fails", func() bool {
		a = ask(t, "GET", s.URL(responses+"/"+later.ID), "")
		return strings.Contains(a.body, `"status":"failed"`)
	})
	a.want(t, 200, "shorten it")
	if now := hosts(t, s.Cmd.Process.Pid); !maps.Equal(now, alive) {
		t.Errorf("the processes were %v, are %v", alive, now)
	}
	if strings.Contains(s.Log(), "panic") {
		t.Error("a panic in the log")
	}
}

// TestBadGGUF serves files that are damaged in all sorts of ways beside one that is not. Each says what is wrong with it.
func TestBadGGUF(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(testkit.GGUF(t, "smollm2.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("general.architecture")
	at := bytes.Index(whole, key) + len(key) + 12 // behind the value's type and length
	if string(whole[at:at+5]) != "llama" {
		t.Fatalf("the architecture is %q", whole[at:at+5])
	}
	changed := func(at int, with ...byte) string {
		out := bytes.Clone(whole[:4<<20]) // no damage is looked for behind it
		if at >= 0 {
			copy(out[at:], with)
		}
		return string(out)
	}
	full := func(at int, with ...byte) string {
		out := bytes.Clone(whole)
		copy(out[at:], with)
		return string(out)
	}
	many := binary.LittleEndian.AppendUint64(nil, 1<<60)
	files := map[string]struct {
		text  string
		words []string
	}{
		"cut":          {changed(-1), []string{"model.gguf", "the file ends at byte 4194304", "download it again"}},
		"cut-early":    {string(whole[:100]), []string{"model.gguf"}},
		"noise":        {strings.Repeat("\x07noise", 1000), []string{"model.gguf", "no GGUF file"}},
		"version":      {changed(4, 99), []string{"model.gguf", "99"}},
		"tensors":      {changed(8, many...), []string{"model.gguf", "tensors", "1152921504606846976"}},
		"keys":         {changed(16, many...), []string{"model.gguf", "1152921504606846976"}},
		"long-text":    {changed(at-8, many...), []string{"model.gguf", "general.architecture"}},
		"architecture": {full(at, []byte("llamq")...), []string{"unknown model architecture: 'llamq'"}},
	}
	root := t.TempDir()
	for name, f := range files {
		write(t, filepath.Join(root, name, "1", "model.gguf"), f.text)
	}
	link(t, filepath.Join(chatModels(t), "chat", "1"), filepath.Join(root, "good", "1"))
	write(t, filepath.Join(root, "good", "model.yaml"), "engine: llama\nthreads: 1\ntext: {context: 512, slots: 2}\n")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "some models failed") })
	all := index(t, s)
	for name, f := range files {
		m := all[name+" 1"]
		if m.State != "UNAVAILABLE" {
			t.Errorf("%s: %+v", name, m)
		}
		answer{200, m.Reason, nil}.want(t, 200, f.words...)
		ask(t, "POST", s.URL(openaiChat), strings.Replace(say(`"max_tokens":1`), `"chat"`, `"`+name+`"`, 1)).want(t, 503, append(f.words[:1:1], "'"+name+"' is not ready")...)
	}
	ask(t, "POST", s.URL("/v1/completions"), `{"model":"good","prompt":"a","max_tokens":1}`).want(t, 200, `"length"`)
	if n := len(hosts(t, s.Cmd.Process.Pid)); n != 1 {
		t.Errorf("%d processes host models, want 1", n)
	}
	// Mended, it serves.
	if err := os.Remove(filepath.Join(root, "noise", "1", "model.gguf")); err != nil {
		t.Fatal(err)
	}
	link(t, filepath.Join(chatModels(t), "chat", "1"), filepath.Join(root, "noise", "1"))
	write(t, filepath.Join(root, "noise", "model.yaml"), "threads: 1\ntext: {context: 512, slots: 2}\n")
	ask(t, "POST", s.URL("/v2/repository/models/noise/load"), "{}").want(t, 200)
	ask(t, "POST", s.URL("/v1/completions"), `{"model":"noise","prompt":"a","max_tokens":1}`).want(t, 200, `"length"`)
	if strings.Contains(s.Log(), "panic") {
		t.Error("a panic in the log")
	}
}
