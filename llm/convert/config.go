package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"serval"
)

// Bounds on the folder's small files, in bytes. The largest tokenizer.json in use has 34 MB.
const (
	maxConfig    = 4 << 20
	maxTokenizer = 256 << 20
)

// wrong is a refusal of what a file of the folder says.
func wrong(file, field, format string, args ...any) error {
	e := serval.Errorf(serval.InvalidArgument, format, args...)
	e.Message = file + ": " + e.Message
	return e.At(field)
}

// readFile reads a file of the folder; nil if it is not there.
func readFile(dir, name string, most int64) ([]byte, error) {
	file, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, wrong(name, name, "it has more than the %d MB allowed", most>>20)
	}
	return b, nil
}

// readJSON reads a JSON object of the folder; false if it is not there.
func readJSON(dir, name string, most int64, into any) (bool, error) {
	b, err := readFile(dir, name, most)
	if err != nil || b == nil {
		return false, err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return false, wrong(name, name, "%w", err)
	}
	return true, nil
}

// config is an object of config.json. It remembers which keys were asked for, and keeps the first error.
type config struct {
	path string // of its keys: "", or "text_config."
	raw  map[string]json.RawMessage
	read map[string]bool
	err  error
}

func newConfig(path string, raw map[string]json.RawMessage) *config {
	return &config{path: path, raw: raw, read: map[string]bool{}}
}

func (c *config) fail(key, format string, args ...any) {
	if c.err == nil {
		c.err = wrong("config.json", c.path+key, "%s", c.path+key+" "+fmt.Sprintf(format, args...))
	}
}

// has tells whether a key is there and not null; it counts as read.
func (c *config) has(key string) bool {
	c.read[key] = true
	raw, ok := c.raw[key]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// get reads the value of a key; false if it is not there.
func (c *config) get(key string, into any) bool {
	if !c.has(key) {
		return false
	}
	if err := json.Unmarshal(c.raw[key], into); err != nil {
		c.fail(key, "is %.60s, which cannot be: %v", c.raw[key], err)
		return false
	}
	return true
}

// count is a whole number from 1 to 2^24; otherwise 0 makes the key required.
func (c *config) count(key string, otherwise int) int {
	const most = 1 << 24
	n := otherwise
	if c.get(key, &n); n < 1 || n > most {
		if !c.has(key) {
			c.fail(key, "is missing")
		} else {
			c.fail(key, "is %.60s; it must be a number from 1 to %d", c.raw[key], most)
		}
		return 1
	}
	return n
}

// real is a positive number; otherwise 0 makes the key required.
func (c *config) real(key string, otherwise float64) float64 {
	v := otherwise
	if c.get(key, &v); !(v > 0) || math.IsInf(v, 0) {
		if !c.has(key) {
			c.fail(key, "is missing")
		} else {
			c.fail(key, "is %.60s; it must be a positive number", c.raw[key])
		}
		return 1
	}
	return v
}

// truth is a bool.
func (c *config) truth(key string, otherwise bool) bool {
	is := otherwise
	c.get(key, &is)
	return is
}

// only refuses a value of the key other than these, if it is there.
func (c *config) only(key, why string, values ...any) {
	var v any
	if !c.get(key, &v) {
		return
	}
	for _, want := range values {
		if n, ok := want.(int); ok {
			want = float64(n)
		}
		if v == want {
			return
		}
	}
	c.fail(key, "is %.60s, and %s", c.raw[key], why)
}

// object is the object at a key; nil if it is not there. Its keys are to be read, too.
func (c *config) object(key string) *config {
	var raw map[string]json.RawMessage
	if !c.get(key, &raw) {
		return nil
	}
	return newConfig(c.path+key+".", raw)
}

// take keeps the error of an object of c.
func (c *config) take(o *config) {
	if c.err == nil && o != nil {
		c.err = o.err
	}
}

// harmless are keys that do not change what the net computes: where it comes from, how it was trained, how it is run, and how
// text is made with it.
const harmless = ` architectures model_type torch_dtype dtype transformers_version _name_or_path _commit_hash name_or_path use_cache
 initializer_range initializer_factor attention_dropout hidden_dropout hidden_dropout_prob attention_probs_dropout_prob
 classifier_dropout embd_pdrop resid_pdrop gradient_checkpointing pretraining_tp auto_map return_dict output_attentions
 output_hidden_states torchscript use_bfloat16 problem_type id2label label2id num_labels finetuning_task task_specific_params
 prefix tie_encoder_decoder chunk_size_feed_forward cache_implementation _attn_implementation _attn_implementation_autoset
 unsloth_version unsloth_fixed use_flash_attention use_flash_attn attn_implementation tokenizer_class model_max_length
 bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id cls_token_id mask_token_id decoder_start_token_id
 forced_bos_token_id forced_eos_token_id suppress_tokens begin_suppress_tokens bad_words_ids exponential_decay_length_penalty
 max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p
 repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size num_return_sequences output_scores
 return_dict_in_generate remove_invalid_values transformers.js_config is_llama_config `

// rest refuses keys that nobody has read, that are not known to be harmless, and that are not in ignore.
func (c *config) rest(ignore []string) {
	known := strings.Fields(harmless)
	for _, key := range slices.Sorted(maps.Keys(c.raw)) {
		name := c.path + key
		if c.read[key] || !c.has(key) || slices.Contains(known, key) || slices.Contains(ignore, name) {
			continue
		}
		c.fail(key, "is %.60s, which may change the net and is not known; if it does not, say so with --ignore %s", c.raw[key], name)
	}
}
