package openai

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"serval"
)

// texts is a string or a list of strings.
type texts []string

// UnmarshalJSON reads either.
func (t *texts) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(t))
	}
	var one string
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*t = texts{one}
	return nil
}

// content is a message's text: a string, or a list of parts.
type content struct {
	text  string
	given bool
}

// UnmarshalJSON reads either.
func (c *content) UnmarshalJSON(b []byte) error {
	switch {
	case bytes.Equal(b, []byte("null")):
		return nil
	case len(b) > 0 && b[0] == '"':
		c.given = true
		return json.Unmarshal(b, &c.text)
	case len(b) > 0 && b[0] == '[':
		c.given = true
		return c.parts(b)
	}
	return serval.Errorf(serval.InvalidArgument, "messages: content must be a string or a list of parts").At("messages")
}

func (c *content) parts(b []byte) error {
	var parts []struct {
		Type    string  `json:"type"`
		Text    *string `json:"text"`
		Refusal *string `json:"refusal"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return serval.Errorf(serval.InvalidArgument, "messages: content is not a list of parts: %v", err).At("messages")
	}
	var all strings.Builder
	for i, p := range parts {
		switch {
		case (p.Type == "text" || p.Type == "input_text" || p.Type == "output_text" || p.Type == "reasoning_text" || p.Type == "summary_text") && p.Text != nil:
			all.WriteString(*p.Text)
		case p.Type == "refusal" && p.Refusal != nil:
			all.WriteString(*p.Refusal)
		case p.Type == "image_url" || p.Type == "input_image" || p.Type == "input_audio" || p.Type == "file" || p.Type == "input_file":
			return serval.Errorf(serval.InvalidArgument, "messages: content[%d] is of type %s; this server's models take text only", i, p.Type).At("messages").Named("unsupported_content")
		default:
			return serval.Errorf(serval.InvalidArgument, "messages: content[%d] must be {\"type\": \"text\", \"text\": …}; its type is %q", i, p.Type).At("messages")
		}
	}
	c.text = all.String()
	return nil
}

// bias is logit_bias: token id → bias.
type bias []serval.TokenBias

// maxBias is how many tokens are read; the task allows fewer.
const maxBias = 1 << 16

// UnmarshalJSON reads an object whose keys are token ids.
func (t *bias) UnmarshalJSON(b []byte) error {
	var m map[string]float64
	if err := json.Unmarshal(b, &m); err != nil {
		return serval.Errorf(serval.InvalidArgument, "logit_bias must be an object of token ids and numbers").At("logit_bias")
	}
	if len(m) > maxBias {
		return serval.Errorf(serval.InvalidArgument, "logit_bias has %d tokens, which is too many", len(m)).At("logit_bias")
	}
	for k, v := range m {
		id, err := strconv.ParseInt(k, 10, 32)
		if err != nil {
			return serval.Errorf(serval.InvalidArgument, "logit_bias: %q is not a token id", k).At("logit_bias")
		}
		if v < -100 || v > 100 {
			return serval.Errorf(serval.InvalidArgument, "logit_bias: the bias of token %s is %v; it must be between -100 and 100", k, v).At("logit_bias")
		}
		*t = append(*t, serval.TokenBias{Token: int32(id), Bias: float32(v)})
	}
	return nil
}
