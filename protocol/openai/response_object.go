package openai

import (
	"encoding/json"
	"time"

	"serval"
)

// response is the Responses API's answer, with all fields that its clients expect, null where there is nothing.
type response struct {
	ID           string             `json:"id"`
	Object       string             `json:"object"`
	Created      int64              `json:"created_at"`
	Completed    *int64             `json:"completed_at"`
	Status       string             `json:"status"` // queued, in_progress, completed, incomplete, failed, cancelled
	Background   bool               `json:"background"`
	Error        *responseError     `json:"error"`
	Incomplete   *incomplete        `json:"incomplete_details"`
	Instructions *string            `json:"instructions"`
	MaxOutput    *int               `json:"max_output_tokens"`
	MaxToolCalls *int               `json:"max_tool_calls"`
	Model        string             `json:"model"`
	Output       []*outputItem      `json:"output"`
	Parallel     bool               `json:"parallel_tool_calls"`
	Previous     *string            `json:"previous_response_id"`
	Reasoning    map[string]*string `json:"reasoning"`
	Tier         string             `json:"service_tier"`
	Store        bool               `json:"store"`
	Temperature  float64            `json:"temperature"`
	Text         map[string]any     `json:"text"`
	ToolChoice   json.RawMessage    `json:"tool_choice"`
	Tools        []responseTool     `json:"tools"`
	TopLogprobs  int                `json:"top_logprobs"`
	TopP         float64            `json:"top_p"`
	Truncation   string             `json:"truncation"`
	Usage        *responseUsage     `json:"usage"`
	User         *string            `json:"user"`
	Metadata     map[string]string  `json:"metadata"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type incomplete struct {
	Reason string `json:"reason"`
}

type responseUsage struct {
	Input        int64            `json:"input_tokens"`
	InputDetails map[string]int64 `json:"input_tokens_details"`
	Made         int64            `json:"output_tokens"`
	MadeDetails  map[string]int64 `json:"output_tokens_details"`
	Total        int64            `json:"total_tokens"`
}

// outputItem is a message, a function call or reasoning.
type outputItem struct {
	ID        string        `json:"id"`
	Type      string        `json:"type"`
	Status    string        `json:"status"`
	Role      string        `json:"role,omitempty"`
	Content   []*outputText `json:"content,omitzero"` // an empty list where text is to come
	CallID    string        `json:"call_id,omitempty"`
	Name      string        `json:"name,omitempty"`
	Arguments *string       `json:"arguments,omitempty"`
	Summary   *[]struct{}   `json:"summary,omitempty"`

	index int // of the tool call
	text  []byte
}

type outputText struct {
	Type        string         `json:"type"`
	Text        string         `json:"text"`
	Annotations *[]struct{}    `json:"annotations,omitempty"`
	Logprobs    []tokenLogprob `json:"logprobs,omitzero"`
}

// newResponse is the answer before there is anything of it.
func newResponse(id string, r *responseRequest) *response {
	one := 1.0
	value := func(p *float64) float64 {
		if p == nil {
			p = &one
		}
		return *p
	}
	a := &response{
		ID: id, Object: "response", Created: time.Now().Unix(), Status: "in_progress", Background: r.Background, Instructions: r.Instructions,
		MaxOutput: r.MaxOutput, Model: r.Model, Output: []*outputItem{}, Parallel: r.Parallel == nil || *r.Parallel, Previous: r.Previous,
		Reasoning: map[string]*string{"effort": nil, "summary": nil}, Tier: "default", Store: r.Store == nil || *r.Store,
		Temperature: value(r.Temperature), TopP: value(r.TopP), Text: map[string]any{"format": map[string]string{"type": "text"}},
		ToolChoice: r.ToolChoice, Tools: r.Tools, Truncation: "disabled", User: r.User, Metadata: r.Metadata,
	}
	if a.Tools == nil {
		a.Tools = []responseTool{}
	}
	if raw(a.ToolChoice) == "" {
		a.ToolChoice = json.RawMessage(`"auto"`)
	}
	if a.Metadata == nil {
		a.Metadata = map[string]string{}
	}
	if r.Text != nil && r.Text.Format != nil {
		a.Text["format"] = r.Text.Format
	}
	if r.Reasoning != nil {
		a.Reasoning["effort"] = r.Reasoning.Effort
	}
	if r.TopLogprobs != nil {
		a.TopLogprobs = *r.TopLogprobs
	}
	return a
}

// end says how the answer ended.
func (a *response) end(finish serval.Finish, u serval.Usage, err error) {
	a.Usage = &responseUsage{
		Input: u.Prompt, InputDetails: map[string]int64{"cached_tokens": u.Cached}, Made: u.Completion,
		MadeDetails: map[string]int64{"reasoning_tokens": u.Reasoning}, Total: u.Prompt + u.Completion,
	}
	switch {
	case err != nil:
		e := serval.AsError(err)
		a.Status, a.Error = "failed", &responseError{Code: errorType(e.Code), Message: e.Message}
		if e.Code == serval.Canceled {
			a.Status, a.Error = "cancelled", nil
		}
		a.Usage = nil
	case finish == serval.Length:
		a.Status, a.Incomplete = "incomplete", &incomplete{"max_output_tokens"}
	default:
		at := time.Now().Unix()
		a.Status, a.Completed = "completed", &at
	}
}
