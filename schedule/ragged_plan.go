package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"serval"
	"serval/engine"
)

// defaultContext is how many tokens a text may have where neither the model's files nor its settings say.
const defaultContext = 512

// Where the settings do not say how many tokens a batch has, they are as many as the engine computes in batchTime, since
// whoever comes next waits for it: longer batches of texts of similar length are no faster on a CPU. See docs/decisions/0010.
const (
	leastTokens = 512
	mostTokens  = 8192
	batchTime   = 100 * time.Millisecond
)

// The parts that an encoder's inputs have, by their usual names.
const (
	roleIDs   = iota // the tokens
	roleMask         // 1 where there is a token, 0 where there is none
	roleTypes        // which text of a pair a token is of
	roleNone         // not given: the model has a default for it
)

var roles = map[string]int{"input_ids": roleIDs, "attention_mask": roleMask, "token_type_ids": roleTypes}

// What an encoder's output holds.
const (
	tokenVectors = iota // [batch, sequence, width]
	textVectors         // [batch, width]: the model pools by itself
	textScores          // [batch, 1]: of pairs
)

// textPlan is how a model of tensors is used as one of texts.
type textPlan struct {
	lang   serval.Language
	inputs []int // the role of each
	masked bool  // texts can be padded
	output int
	kind   int
	length int   // that every text is padded to; 0: to the longest of its batch
	pad    int64 // the token that is no text
	single bool  // the model takes one text at a time
	budget int   // tokens of a batch, padding among them

	measured bool // budget is to be
}

// texts wraps an engine so that encoders with a tokenizer beside them are models of text; it returns eng itself where there
// is no tokenizer, or where the model's configuration says that clients give tensors.
func texts(eng engine.Engine, spec *engine.Spec, asked int) engine.Engine {
	s := &spec.Settings
	if len(s.Declared) > 0 || s.Sequence != nil || s.Text != nil && s.Text.Tensors {
		return eng
	}
	if f := filesOfText(spec); f.tokenizer() == "" {
		return eng
	}
	return &textEngine{eng, asked}
}

type textEngine struct {
	engine.Engine
	asked int // tokens of a batch; 0: as many as usual
}

// Open loads the model, which is a *ragged if it is an encoder.
func (t *textEngine) Open(ctx context.Context, spec engine.Spec) (engine.Model, error) {
	m, err := t.Engine.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	b, ok := m.(engine.Batcher)
	if !ok {
		return m, nil
	}
	plan, err := planTexts(b.Signature(), &spec, t.asked)
	if err == nil && plan == nil {
		return m, nil
	}
	var r *ragged
	if err == nil {
		r, err = newRagged(ctx, b, plan)
	}
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	r.open = func(ctx context.Context) (engine.Batcher, error) { return another(ctx, t.Engine, spec, b) }
	return r, nil
}

// planTexts is nil for a model that is no encoder, whose inputs and outputs are of other names or shapes. The error is for one
// that is, but whose files ask for what is not done.
func planTexts(sig serval.Signature, spec *engine.Spec, asked int) (*textPlan, error) {
	p := &textPlan{}
	if !p.readInputs(sig.Inputs) {
		return nil, nil
	}
	files := filesOfText(spec)
	var c textConfig
	if err := files.read("config.json", &c); err != nil {
		return nil, err
	}
	if !p.readOutputs(sig.Outputs, &c) {
		return nil, nil
	}
	p.lang.File = files.tokenizer()
	p.lang.Rank, p.lang.Embed = p.kind == textScores, p.kind != textScores
	if width := sig.Outputs[p.output].Shape; width[len(width)-1] > 0 {
		p.lang.Width = int(width[len(width)-1])
	}
	p.pad = int64(c.Pad)
	p.budget, p.measured = cmp.Or(asked, leastTokens), asked == 0
	err := p.readContext(&c, files, spec.Settings.Text)
	if err == nil {
		err = p.readPooling(files, spec.Settings.Text)
	}
	return p, err
}

// readInputs finds the part that each input has; it reports false if there is one that has none.
func (p *textPlan) readInputs(inputs []serval.TensorInfo) bool {
	found := [roleNone]bool{}
	for i := range inputs {
		info := &inputs[i]
		role, known := roles[info.Name]
		switch {
		case known && len(info.Shape) == 2 && (info.DType == serval.Int64 || info.DType == serval.Int32):
		case info.Optional:
			role = roleNone
		default:
			return false
		}
		p.inputs = append(p.inputs, role)
		if role == roleNone {
			continue
		}
		found[role] = true
		switch batch := info.Shape[0]; {
		case batch == 1:
			p.single = true
		case batch > 1:
			return false
		}
		if n := info.Shape[1]; n > 0 {
			if p.length > 0 && p.length != int(n) || n > 1<<20 {
				return false
			}
			p.length = int(n)
		}
	}
	p.masked = found[roleMask]
	return found[roleIDs] && (p.masked || p.length == 0)
}

// readOutputs finds the output to use.
func (p *textPlan) readOutputs(outputs []serval.TensorInfo, c *textConfig) bool {
	find := func(rank int, names ...string) bool {
		for _, name := range names {
			for i := range outputs {
				if o := &outputs[i]; o.Name == name && len(o.Shape) == rank && o.DType.Numbers() != nil && o.Shape[0] < 2 {
					p.output = i
					return true
				}
			}
		}
		return false
	}
	switch {
	case find(2, "logits"):
		width := outputs[p.output].Shape[1]
		p.kind = textScores
		return width == 1 || width == -1 && len(c.Labels) == 1
	case find(2, "sentence_embedding", "sentence_embeddings", "text_embeds"):
		p.kind = textVectors
	case find(3, "last_hidden_state", "token_embeddings"):
		p.kind = tokenVectors
	case find(2, "pooler_output", "pooled_output"):
		p.kind = textVectors
	default:
		return false
	}
	return true
}

// textConfig is what is used of a config.json.
type textConfig struct {
	Type      string         `json:"model_type"`
	Positions float64        `json:"max_position_embeddings"`
	Pad       int            `json:"pad_token_id"`
	Labels    map[string]any `json:"id2label"`
}

// offset are the families whose first position is the one behind the padding token's id: they take fewer tokens than positions.
var offset = []string{"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "data2vec-text"}

// readContext finds out how many tokens a text may have: what the model was used with by sentence-transformers, else what its
// tokenizer says, but no more than it has positions.
func (p *textPlan) readContext(c *textConfig, files *textFiles, s *serval.TextSettings) error {
	var sentence struct {
		Most float64 `json:"max_seq_length"`
	}
	var tokenizer struct {
		Most float64 `json:"model_max_length"`
	}
	if err := files.read("sentence_bert_config.json", &sentence); err != nil {
		return err
	}
	if err := files.read("tokenizer_config.json", &tokenizer); err != nil {
		return err
	}
	most := math.Inf(1)
	if c.Positions > 0 {
		most = c.Positions
		if slices.Contains(offset, c.Type) {
			most -= float64(c.Pad + 1)
		}
	}
	if p.length > 0 {
		most = min(most, float64(p.length))
	}
	n := float64(0)
	switch {
	case s != nil && s.Context > 0:
		if n = float64(s.Context); n > most {
			return fmt.Errorf("text.context is %d; the model has positions for %.0f tokens", s.Context, most)
		}
	case sentence.Most > 0:
		n = min(sentence.Most, most)
	case tokenizer.Most > 0 && tokenizer.Most < 1<<24: // else it says that there is no limit
		n = min(tokenizer.Most, most)
	case !math.IsInf(most, 1):
		n = most
	default:
		n = defaultContext
	}
	if n < 2 || n > 1<<24 {
		return fmt.Errorf("the model's files say that a text has %g tokens at most; name a context under text: in model.yaml", n)
	}
	p.lang.Context = int(n)
	return nil
}

// readPooling finds out how the model's vectors become a text's.
func (p *textPlan) readPooling(files *textFiles, s *serval.TextSettings) error {
	if p.kind == textScores {
		p.lang.Pooling = "rank"
		return nil
	}
	var pooling struct {
		Mode string `json:"pooling_mode"`
		CLS  bool   `json:"pooling_mode_cls_token"`
		Mean bool   `json:"pooling_mode_mean_tokens"`
		Last bool   `json:"pooling_mode_lasttoken"`
		Max  bool   `json:"pooling_mode_max_tokens"`
		Root bool   `json:"pooling_mode_mean_sqrt_len_tokens"`
		Late bool   `json:"pooling_mode_weightedmean_tokens"`
	}
	if err := files.read("1_Pooling/config.json", &pooling); err != nil {
		return err
	}
	modes := strings.FieldsFunc(pooling.Mode, func(r rune) bool { return r == '+' })
	for name, on := range map[string]bool{"cls": pooling.CLS, "mean": pooling.Mean, "lasttoken": pooling.Last, "max": pooling.Max,
		"mean_sqrt_len_tokens": pooling.Root, "weightedmean": pooling.Late} {
		if on && !slices.Contains(modes, name) {
			modes = append(modes, name)
		}
	}
	slices.Sort(modes)
	mode := strings.Join(modes, " and ")
	if mode == "lasttoken" {
		mode = "last"
	}
	if p.kind == textVectors { // it is in the file
		p.lang.Pooling = mode
		if s != nil && s.Pooling != "" && s.Pooling != mode {
			return fmt.Errorf("text.pooling is %s, but the model's own output is a text's vector already; remove the setting", s.Pooling)
		}
		return nil
	}
	if err := files.onlyPools(); err != nil {
		return err
	}
	switch {
	case s != nil && s.Pooling != "":
		mode = s.Pooling
	case mode == "":
		mode = "mean"
	case mode != "mean" && mode != "cls" && mode != "last":
		return fmt.Errorf("1_Pooling/config.json asks for pooling by %s; mean, cls and lasttoken are there: export the model with its pooling (an output sentence_embedding), or name another under text.pooling", mode)
	}
	p.lang.Pooling = mode
	return nil
}

// textFiles are the folders in which the files of a model of text are looked for.
type textFiles struct{ folders []string }

func filesOfText(spec *engine.Spec) *textFiles {
	f := &textFiles{folders: []string{spec.Dir}}
	if spec.Root != "" && spec.Root != spec.Dir {
		f.folders = append(f.folders, spec.Root)
	}
	return f
}

// tokenizer is the path of the tokenizer.json, "" if there is none.
func (f *textFiles) tokenizer() string {
	for _, dir := range f.folders {
		file := filepath.Join(dir, "tokenizer.json")
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file
		}
	}
	return ""
}

// mostConfig bounds a configuration file.
const mostConfig = 4 << 20

// read reads a JSON file from the first folder that has it; into stays as it is if none has.
func (f *textFiles) read(name string, into any) error {
	for _, dir := range f.folders {
		file := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Size() > mostConfig || !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no configuration file: it has %d bytes", name, info.Size())
		}
		raw, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return nil
}

// onlyPools refuses a sentence-transformers model with layers behind its pooling, which a file of token vectors does not hold.
func (f *textFiles) onlyPools() error {
	var modules []struct{ Type string }
	if err := f.read("modules.json", &modules); err != nil {
		return err
	}
	for _, m := range modules {
		name := m.Type[strings.LastIndexByte(m.Type, '.')+1:]
		if name != "Transformer" && name != "Pooling" && name != "Normalize" {
			return fmt.Errorf("modules.json has a layer of type %s behind the encoder, which an ONNX file of token vectors does not hold: export the model with it (an output sentence_embedding), or set tensors: true under text: in model.yaml", m.Type)
		}
	}
	return nil
}
