package schedule

import (
	"strings"
	"testing"

	"serval"
	"serval/engine/onnx"
)

func TestTextFiles(t *testing.T) {
	const config = `{"max_position_embeddings": 48}`
	for name, c := range map[string]struct {
		text  *serval.TextSettings
		files map[string]string
		want  serval.Language // Context and Pooling
		err   string
	}{
		"bare":                 {nil, map[string]string{"config.json": "{}"}, serval.Language{Context: 512, Pooling: "mean"}, ""},
		"positions":            {nil, nil, serval.Language{Context: 48, Pooling: "mean"}, ""},
		"roberta":              {nil, map[string]string{"config.json": `{"model_type": "xlm-roberta", "max_position_embeddings": 48, "pad_token_id": 1}`}, serval.Language{Context: 46, Pooling: "mean"}, ""},
		"tokenizer":            {nil, map[string]string{"tokenizer_config.json": `{"model_max_length": 40}`}, serval.Language{Context: 40, Pooling: "mean"}, ""},
		"tokenizer, no limit":  {nil, map[string]string{"tokenizer_config.json": `{"model_max_length": 1000000000000000019884624838656}`}, serval.Language{Context: 48, Pooling: "mean"}, ""},
		"sentences":            {nil, map[string]string{"tokenizer_config.json": `{"model_max_length": 40}`, "sentence_bert_config.json": `{"max_seq_length": 24}`}, serval.Language{Context: 24, Pooling: "mean"}, ""},
		"sentences, too long":  {nil, map[string]string{"sentence_bert_config.json": `{"max_seq_length": 240}`}, serval.Language{Context: 48, Pooling: "mean"}, ""},
		"settings":             {&serval.TextSettings{Context: 30, Pooling: "last"}, map[string]string{"sentence_bert_config.json": `{"max_seq_length": 24}`}, serval.Language{Context: 30, Pooling: "last"}, ""},
		"settings, too long":   {&serval.TextSettings{Context: 49}, nil, serval.Language{}, "text.context is 49; the model has positions for 48 tokens"},
		"cls":                  {nil, map[string]string{"1_Pooling/config.json": `{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}`}, serval.Language{Context: 48, Pooling: "cls"}, ""},
		"last":                 {nil, map[string]string{"1/1_Pooling/config.json": `{"pooling_mode": "lasttoken"}`}, serval.Language{Context: 48, Pooling: "last"}, ""},
		"max":                  {nil, map[string]string{"1_Pooling/config.json": `{"pooling_mode_max_tokens": true}`}, serval.Language{}, "asks for pooling by max;"},
		"two":                  {nil, map[string]string{"1_Pooling/config.json": `{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}`}, serval.Language{}, "asks for pooling by cls and mean;"},
		"max, overruled":       {&serval.TextSettings{Pooling: "mean"}, map[string]string{"1_Pooling/config.json": `{"pooling_mode_max_tokens": true}`}, serval.Language{Context: 48, Pooling: "mean"}, ""},
		"modules":              {nil, map[string]string{"modules.json": `[{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Normalize"}]`}, serval.Language{Context: 48, Pooling: "mean"}, ""},
		"dense":                {nil, map[string]string{"modules.json": `[{"type": "sentence_transformers.models.Dense"}]`}, serval.Language{}, "a layer of type sentence_transformers.models.Dense"},
		"broken":               {nil, map[string]string{"config.json": `{"max_position_embeddings": [`}, serval.Language{}, "config.json: unexpected end"},
		"odd":                  {nil, map[string]string{"config.json": `{"max_position_embeddings": 0.5}`}, serval.Language{}, "has 0.5 tokens at most"},
		"version before model": {nil, map[string]string{"1/config.json": `{"max_position_embeddings": 20}`, "config.json": config}, serval.Language{Context: 20, Pooling: "mean"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			mustOpen(t, "accumulate", serval.ModelSettings{Sequence: accumulating()})
			s := serval.ModelSettings{Text: c.text, Instances: 1}
			o, err := Open(t.Context(), onnx.New(library.store, onnx.Options{}), encoderSpec(t, "encoder", s, c.files), 1)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if l := o.Language; l == nil || l.Context != c.want.Context || l.Pooling != c.want.Pooling {
				t.Errorf("%+v, want %+v", l, c.want)
			}
			if err := o.Loaded.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEncoderByItsSignature says which models are encoders.
func TestEncoderByItsSignature(t *testing.T) {
	in := func(name string, d serval.DType, shape ...int64) serval.TensorInfo {
		return serval.TensorInfo{Name: name, DType: d, Shape: shape}
	}
	ids, mask := in("input_ids", serval.Int64, -1, -1), in("attention_mask", serval.Int64, -1, -1)
	hidden, logits := in("last_hidden_state", serval.FP32, -1, -1, 8), in("logits", serval.FP32, -1, 1)
	spec := encoderSpec(t, "encoder", serval.ModelSettings{}, nil)
	for name, c := range map[string]struct {
		inputs, outputs []serval.TensorInfo
		kind            int // -1: none
	}{
		"usual":             {[]serval.TensorInfo{ids, mask, in("token_type_ids", serval.Int64, -1, -1)}, []serval.TensorInfo{hidden}, tokenVectors},
		"32 bits":           {[]serval.TensorInfo{in("input_ids", serval.Int32, -1, -1), mask}, []serval.TensorInfo{hidden}, tokenVectors},
		"no mask":           {[]serval.TensorInfo{ids}, []serval.TensorInfo{hidden}, tokenVectors},
		"pools":             {[]serval.TensorInfo{ids, mask}, []serval.TensorInfo{in("token_embeddings", serval.FP32, -1, -1, 8), in("sentence_embedding", serval.FP32, -1, 8)}, textVectors},
		"with a pooler":     {[]serval.TensorInfo{ids, mask}, []serval.TensorInfo{hidden, in("pooler_output", serval.FP32, -1, 8)}, tokenVectors},
		"scores":            {[]serval.TensorInfo{ids, mask}, []serval.TensorInfo{logits}, textScores},
		"halves":            {[]serval.TensorInfo{ids, mask}, []serval.TensorInfo{in("last_hidden_state", serval.FP16, -1, -1, 8)}, tokenVectors},
		"fixed length":      {[]serval.TensorInfo{in("input_ids", serval.Int64, -1, 32), in("attention_mask", serval.Int64, -1, 32)}, []serval.TensorInfo{hidden}, tokenVectors},
		"one text":          {[]serval.TensorInfo{in("input_ids", serval.Int64, 1, -1), in("attention_mask", serval.Int64, 1, -1)}, []serval.TensorInfo{hidden}, tokenVectors},
		"fixed, no mask":    {[]serval.TensorInfo{in("input_ids", serval.Int64, -1, 32)}, []serval.TensorInfo{hidden}, -1},
		"fixed batch":       {[]serval.TensorInfo{in("input_ids", serval.Int64, 4, -1), mask}, []serval.TensorInfo{hidden}, -1},
		"classes":           {[]serval.TensorInfo{ids, mask}, []serval.TensorInfo{in("logits", serval.FP32, -1, 3)}, -1},
		"tokens' classes":   {[]serval.TensorInfo{ids, mask}, []serval.TensorInfo{in("logits", serval.FP32, -1, -1, 9)}, -1},
		"a cache":           {[]serval.TensorInfo{ids, mask, in("past_key_values.0.key", serval.FP32, -1, 2, -1, 8)}, []serval.TensorInfo{hidden}, -1},
		"floats":            {[]serval.TensorInfo{in("input_ids", serval.FP32, -1, -1)}, []serval.TensorInfo{hidden}, -1},
		"other names":       {[]serval.TensorInfo{in("x", serval.Int64, -1, -1)}, []serval.TensorInfo{hidden}, -1},
		"nothing goes in":   {nil, []serval.TensorInfo{hidden}, -1},
		"of another rank":   {[]serval.TensorInfo{in("input_ids", serval.Int64, -1), mask}, []serval.TensorInfo{hidden}, -1},
		"nothing comes out": {[]serval.TensorInfo{ids, mask}, nil, -1},
	} {
		p, err := planTexts(serval.Signature{Inputs: c.inputs, Outputs: c.outputs}, &spec, 0)
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case (p == nil) != (c.kind < 0) || p != nil && p.kind != c.kind:
			t.Errorf("%s: %+v, want kind %d", name, p, c.kind)
		case name == "fixed length" && (p.length != 32 || p.lang.Context != 32):
			t.Errorf("%s: %+v", name, p)
		case name == "one text" && !p.single:
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestTensorsWhereDeclared says that a Triton repository's model stays as it was declared, and one without a tokenizer too.
func TestTensorsWhereDeclared(t *testing.T) {
	for name, s := range map[string]serval.ModelSettings{"declared": {Declared: []byte{1}}, "set": {Text: &serval.TextSettings{Tensors: true}}} {
		if o := openEncoder(t, "encoder", s, nil); o.Language != nil {
			t.Errorf("%s: %+v", name, o.Language)
		}
	}
	if o := mustOpen(t, "window", serval.ModelSettings{}); o.Language != nil {
		t.Error("a model without a tokenizer has a language")
	}
}
