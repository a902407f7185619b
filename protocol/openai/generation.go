package openai

import (
	"bytes"
	"encoding/json"

	"serval"
)

// generation are the fields that chat and completions share; those from top_k on are vLLM's.
type generation struct {
	Model            string         `json:"model"`
	N                *int           `json:"n"`
	MaxTokens        *int           `json:"max_tokens"`
	Temperature      *float64       `json:"temperature"`
	TopP             *float64       `json:"top_p"`
	PresencePenalty  *float64       `json:"presence_penalty"`
	FrequencyPenalty *float64       `json:"frequency_penalty"`
	Seed             *int64         `json:"seed"`
	Stop             texts          `json:"stop"`
	Bias             bias           `json:"logit_bias"`
	Stream           bool           `json:"stream"`
	StreamOptions    *streamOptions `json:"stream_options"`

	TopK              *int     `json:"top_k"`
	MinP              *float64 `json:"min_p"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`
	StopTokens        []int32  `json:"stop_token_ids"`
	IgnoreEnd         bool     `json:"ignore_eos"`
	KeepStop          bool     `json:"include_stop_str_in_output"`
	BestOf            *int     `json:"best_of"`

	GuidedJSON    json.RawMessage `json:"guided_json"`
	GuidedRegex   string          `json:"guided_regex"`
	GuidedChoice  json.RawMessage `json:"guided_choice"`
	GuidedGrammar string          `json:"guided_grammar"`
	Structured    *structured     `json:"structured_outputs"`

	Adapter       string `json:"adapter"`
	Deterministic bool   `json:"deterministic"`
	Speculate     *bool  `json:"speculate"`
}

type streamOptions struct {
	IncludeUsage    bool `json:"include_usage"`
	ContinuousUsage bool `json:"continuous_usage_stats"`
}

// structured is vLLM's structured_outputs.
type structured struct {
	JSON    json.RawMessage `json:"json"`
	Object  bool            `json:"json_object"`
	Regex   string          `json:"regex"`
	Choice  json.RawMessage `json:"choice"`
	Grammar string          `json:"grammar"`
}

// wish is what the fields say. The limit has other names elsewhere, so it is given.
func (g *generation) wish(param string, limit *int) (serval.Generation, error) {
	w := serval.Generation{
		Limit: limit, Temperature: g.Temperature, TopP: g.TopP, MinP: g.MinP, TopK: g.TopK, RepetitionPenalty: g.RepetitionPenalty,
		PresencePenalty: g.PresencePenalty, FrequencyPenalty: g.FrequencyPenalty, Seed: g.Seed, Bias: g.Bias, Stop: g.Stop,
		StopTokens: g.StopTokens, KeepStop: g.KeepStop, IgnoreEnd: g.IgnoreEnd, Adapter: g.Adapter, Alone: g.Deterministic, Speculate: g.Speculate,
	}
	if err := notNegative(param, limit); err != nil {
		return w, err
	}
	if g.N != nil {
		if *g.N < 1 || *g.N > serval.MaxChoices {
			return w, serval.Errorf(serval.InvalidArgument, "n is %d; it must be between 1 and %d", *g.N, serval.MaxChoices).At("n")
		}
		w.N = *g.N
	}
	if g.BestOf != nil && *g.BestOf != max(w.N, 1) {
		return w, serval.Errorf(serval.InvalidArgument, "best_of is not supported; leave it out, or make it n").At("best_of")
	}
	if g.StreamOptions != nil && !g.Stream {
		return w, serval.Errorf(serval.InvalidArgument, "stream_options may only be given where stream is true").At("stream_options")
	}
	list := []*serval.Constraint{
		constraint("json_schema", schemaText(g.GuidedJSON), "guided_json"), constraint("regex", g.GuidedRegex, "guided_regex"),
		constraint("choice", raw(g.GuidedChoice), "guided_choice"), constraint("gbnf", g.GuidedGrammar, "guided_grammar"),
	}
	if s := g.Structured; s != nil {
		list = append(list, constraint("json_schema", schemaText(s.JSON), "structured_outputs.json"), constraint("regex", s.Regex, "structured_outputs.regex"),
			constraint("choice", raw(s.Choice), "structured_outputs.choice"), constraint("gbnf", s.Grammar, "structured_outputs.grammar"))
		if s.Object {
			list = append(list, &serval.Constraint{Kind: "json_object", Param: "structured_outputs.json_object"})
		}
	}
	for _, c := range list {
		if c == nil {
			continue
		}
		if w.Constraint != nil {
			return w, serval.Errorf(serval.InvalidArgument, "%s and %s cannot both be kept: leave one out", w.Constraint.Param, c.Param).At(c.Param)
		}
		w.Constraint = c
	}
	return w, nil
}

// notNegative refuses a limit that is, by the name that the client knows it by.
func notNegative(param string, n *int) error {
	if n == nil || *n >= 0 {
		return nil
	}
	return serval.Errorf(serval.InvalidArgument, "%s is %d; it must not be negative", param, *n).At(param)
}

func constraint(kind, source, param string) *serval.Constraint {
	if source == "" {
		return nil
	}
	return &serval.Constraint{Kind: kind, Source: source, Param: param}
}

func raw(m json.RawMessage) string {
	if bytes.Equal(m, []byte("null")) {
		return ""
	}
	return string(m)
}

// schemaText is a schema that may also come as a string that holds it.
func schemaText(m json.RawMessage) string {
	var text string
	if json.Unmarshal(m, &text) == nil && text != "" {
		return text
	}
	return raw(m)
}
