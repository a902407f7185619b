// Package clients runs the official openai client for Go, unchanged. SERVAL_HTTP says where the server is.
package clients

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

func client(t *testing.T) openai.Client {
	t.Helper()
	addr := os.Getenv("SERVAL_HTTP")
	if addr == "" {
		t.Fatal("SERVAL_HTTP is not set: test/llm_test.go runs this")
	}
	return openai.NewClient(option.WithBaseURL("http://"+addr+"/v1"), option.WithAPIKey("none"), option.WithMaxRetries(0))
}

var ask = []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Write the word banana.")}

func TestChat(t *testing.T) {
	c := client(t)
	params := openai.ChatCompletionNewParams{Model: "chat", Messages: ask, Temperature: openai.Float(0), MaxTokens: openai.Int(24)}
	whole, err := c.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(whole.Choices[0].Message.Content, "banana") {
		t.Errorf("%q", whole.Choices[0].Message.Content)
	}
	stream := c.Chat.Completions.NewStreaming(t.Context(), params)
	var all openai.ChatCompletionAccumulator
	for stream.Next() {
		all.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if all.Choices[0].Message.Content != whole.Choices[0].Message.Content {
		t.Errorf("streamed %q, whole %q", all.Choices[0].Message.Content, whole.Choices[0].Message.Content)
	}
}

func TestTools(t *testing.T) {
	c := client(t)
	r, err := c.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
		Model: "chat", Messages: ask, Temperature: openai.Float(0), MaxTokens: openai.Int(100), ParallelToolCalls: openai.Bool(false),
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
			Name: "get_weather", Parameters: openai.FunctionParameters{
				"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string", "enum": []string{"Paris", "Rome"}}}, "required": []string{"city"}, "additionalProperties": false,
			},
		})},
		ToolChoice: openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")},
	})
	if err != nil {
		t.Fatal(err)
	}
	call := r.Choices[0].Message.ToolCalls[0]
	var arguments map[string]string
	if err := json.Unmarshal([]byte(call.Function.Arguments), &arguments); err != nil || call.Function.Name != "get_weather" || len(arguments) != 1 {
		t.Errorf("%+v: %v", call, err)
	}
}

func TestEmbeddings(t *testing.T) {
	c := client(t)
	r, err := c.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: "chat", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a cat", "a dog"}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Data) != 2 || len(r.Data[0].Embedding) == 0 {
		t.Errorf("%d vectors", len(r.Data))
	}
}

func TestResponses(t *testing.T) {
	c := client(t)
	r, err := c.Responses.New(t.Context(), responses.ResponseNewParams{
		Model: "chat", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Write the word banana.")},
		Temperature: openai.Float(0), MaxOutputTokens: openai.Int(24),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.OutputText(), "banana") {
		t.Errorf("%q", r.OutputText())
	}
}

func TestErrors(t *testing.T) {
	c := client(t)
	_, err := c.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "nobody", Messages: ask})
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 404 || e.Code != "model_not_found" {
		t.Errorf("%v", err)
	}
}
