package convert

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"serval/llm/gguf"
)

// net is what config.json says of a net, checked: with it every tensor's name and shape is known.
type net struct {
	arch    string // as GGUF calls it
	layers  int
	width   int // of the residual stream
	inner   int // of the feed-forward layers
	heads   int
	kvHeads int
	head    int // values of one head
	vocab   int // rows of the embedding
	context int // positions
	kinds   int // BERT's token types
	tied    bool
	traits
	keys  []pair    // of the file, behind "ARCH."
	freqs []float32 // what divides rope's frequencies (Llama 3); nil: nothing
	notes []string  // what a user should hear of
}

// traits are what an architecture has beside llama's net.
type traits struct {
	turned    bool // rope takes neighbours for pairs, which transformers has apart: rows of q and k change their order
	biases    bool // of queries, keys and values
	outBias   bool // of what attention gives
	headNorms bool // of queries and keys
	gemma     bool // norms are stored less 1, and there are more of them
	bert      bool
}

// pair is a key of the file and its value.
type pair struct {
	key   string
	value gguf.Value
}

func (n *net) set(key string, v gguf.Value) { n.keys = append(n.keys, pair{key, v}) }
func (n *net) number(key string, v int)     { n.set(key, gguf.Num(uint32(v))) }
func (n *net) real(key string, v float64)   { n.set(key, gguf.Num(float32(v))) }
func (n *net) note(format string, args ...any) {
	n.notes = append(n.notes, fmt.Sprintf(format, args...))
}

// Architectures are the names in config.json that are known.
const Architectures = "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM; the same without a head " +
	"(LlamaModel, …); Gemma2ForCausalLM, Gemma3ForCausalLM and Gemma3ForConditionalGeneration (without pictures); BertModel and BertForMaskedLM"

// netOf reads config.json. ignore are keys that it need not know.
func netOf(dir string, ignore []string) (*net, *config, error) {
	c := newConfig("", nil)
	found, err := readJSON(dir, "config.json", maxConfig, &c.raw)
	if err != nil {
		return nil, nil, err
	}
	if !found {
		return nil, nil, wrong("config.json", "config.json", "%s has none; is it the folder of a model as transformers saves it?", dir)
	}
	var names []string
	c.get("architectures", &names)
	if len(names) != 1 && c.err == nil {
		c.fail("architectures", "must have one name; of those that can be converted: %s", Architectures)
	}
	if c.err != nil {
		return nil, nil, c.err
	}
	n := &net{}
	inside := c // where the net is described
	switch name := names[0]; name {
	case "LlamaForCausalLM", "LlamaModel", "MistralForCausalLM", "MistralModel":
		n.llama(c)
	case "Qwen2ForCausalLM", "Qwen2Model":
		n.qwen(c, "qwen2")
	case "Qwen3ForCausalLM", "Qwen3Model":
		n.qwen(c, "qwen3")
	case "Gemma2ForCausalLM":
		n.gemma2(c)
	case "Gemma3ForCausalLM":
		n.gemma3(c)
	case "Gemma3ForConditionalGeneration":
		if inside = c.object("text_config"); inside == nil {
			c.fail("text_config", "is missing")
			break
		}
		const others = "vision_config tie_word_embeddings mm_tokens_per_image boi_token_index eoi_token_index image_token_index " +
			"boi_token_id eoi_token_id image_token_id"
		for _, key := range strings.Fields(others) {
			c.has(key)
		}
		n.note("what sees pictures is left out: the file reads and writes text")
		n.gemma3(inside)
	case "BertModel", "BertForMaskedLM":
		n.encoder(c)
	default:
		c.fail("architectures", "is %q, which is not converted; these are: %s", name, Architectures)
	}
	if strings.HasSuffix(names[0], "Model") {
		n.tied = true // it has no head, for which readers of GGUF take the embedding
	}
	if inside != c {
		inside.rest(ignore)
		c.take(inside)
	}
	if c.has("quantization_config") {
		c.fail("quantization_config", "says that the weights are quantised already; convert the model that they were made of")
	}
	c.only("is_encoder_decoder", "only nets of one part are converted", false)
	c.rest(ignore)
	if c.err != nil {
		return nil, nil, c.err
	}
	return n, c, nil
}

// sizes are what a decoder's config may leave out, by its class in transformers; 0: it must be there.
type sizes struct{ heads, kvHeads, head, vocab, context int }

// decoder reads what all decoders have.
func (n *net) decoder(c *config, arch string, d sizes) {
	n.arch = arch
	n.layers, n.width, n.inner = c.count("num_hidden_layers", 0), c.count("hidden_size", 0), c.count("intermediate_size", 0)
	n.heads = c.count("num_attention_heads", d.heads)
	if d.kvHeads == 0 {
		d.kvHeads = n.heads
	}
	if d.head == 0 {
		d.head = max(n.width/n.heads, 1)
	}
	n.kvHeads, n.head = c.count("num_key_value_heads", d.kvHeads), c.count("head_dim", d.head)
	n.vocab, n.context = c.count("vocab_size", d.vocab), c.count("max_position_embeddings", d.context)
	n.tied = c.truth("tie_word_embeddings", n.gemma)
	n.bound(c)
	if n.heads%n.kvHeads != 0 || n.head%2 != 0 {
		c.fail("num_key_value_heads", "is %d, which %d heads of %d values cannot share", n.kvHeads, n.heads, n.head)
	}
}

// bound refuses numbers that no net has, and that would take memory before a tensor is looked at.
func (n *net) bound(c *config) {
	const maxLayers, maxVocab = 1 << 10, 1 << 22
	if n.layers > maxLayers {
		c.fail("num_hidden_layers", "is %d, more than the %d allowed", n.layers, maxLayers)
	}
	if n.vocab > maxVocab {
		c.fail("vocab_size", "is %d, more than the %d allowed", n.vocab, maxVocab)
	}
}

// shape sets the keys that all decoders have. It comes last: the context may have become smaller.
func (n *net) shape(c *config, eps float64) {
	n.number("block_count", n.layers)
	n.number("context_length", n.context)
	n.number("embedding_length", n.width)
	n.number("feed_forward_length", n.inner)
	n.number("attention.head_count", n.heads)
	n.number("attention.head_count_kv", n.kvHeads)
	n.real("attention.layer_norm_rms_epsilon", c.real("rms_norm_eps", eps))
	n.number("attention.key_length", n.head)
	n.number("attention.value_length", n.head)
}

// llama is LlamaConfig and MistralConfig.
func (n *net) llama(c *config) {
	n.decoder(c, "llama", sizes{})
	n.turned = true
	c.only("hidden_act", "the net is converted with silu only", "silu")
	c.only("mlp_bias", "biases of the feed-forward layers are not converted", false)
	c.only("rope_interleaved", "only false is known", false)
	n.biases = c.truth("attention_bias", false)
	n.outBias = n.biases
	var window *float64
	if c.get("sliding_window", &window) && window != nil {
		n.narrow(c, int(*window))
	}
	n.rope(c, 10000)
	n.shape(c, 0)
	n.number("vocab_size", n.vocab)
	n.number("rope.dimension_count", n.head)
}

// narrow makes the context as long as the window that a position sees, within which the window changes nothing: the
// architecture has none in GGUF.
func (n *net) narrow(c *config, window int) {
	if window < 1 {
		c.fail("sliding_window", "is %d; it must be positive", window)
		return
	}
	if window < n.context {
		n.note("the context is %d tokens, not %d: beyond that each position sees only %d (sliding_window), for which %s has no place in GGUF",
			window, n.context, window, n.arch)
		n.context = window
	}
}

// qwen is Qwen2Config and Qwen3Config.
func (n *net) qwen(c *config, arch string) {
	n.decoder(c, arch, sizes{})
	n.biases, n.headNorms = arch == "qwen2", arch == "qwen3"
	c.only("hidden_act", "the net is converted with silu only", "silu")
	c.only("attention_bias", "only false is known", false)
	c.only("use_mrope", "only false is known", false)
	var window, full float64
	full = 28
	c.get("max_window_layers", &full)
	has := c.get("sliding_window", &window)
	sliding := c.truth("use_sliding_window", false) && has && full < float64(n.layers)
	if kinds := n.kindsOf(c); kinds != nil {
		sliding = slices.Contains(kinds, "sliding_attention")
	}
	if sliding {
		n.narrow(c, int(window))
	}
	n.rope(c, 10000)
	n.shape(c, 0)
}

// kindsOf reads layer_types; nil if it is not there.
func (n *net) kindsOf(c *config) []string {
	var kinds []string
	if !c.get("layer_types", &kinds) {
		return nil
	}
	if len(kinds) != n.layers {
		c.fail("layer_types", "has %d entries for %d layers", len(kinds), n.layers)
	}
	for _, kind := range kinds {
		if kind != "full_attention" && kind != "sliding_attention" {
			c.fail("layer_types", "has a %.40q, which is not known", kind)
		}
	}
	return kinds
}

// local checks that every so many-th layer sees all and the others a window, as the architecture has it in GGUF.
func (n *net) local(c *config, period int) {
	for i, kind := range n.kindsOf(c) {
		if full := i%period == period-1; full != (kind == "full_attention") {
			c.fail("layer_types", "has %s at layer %d; in %s every %d-th layer is full_attention and no other", kind, i, n.arch, period)
			return
		}
	}
}

// scale checks that scores are scaled as those who read the file do it. wide is the model with so many layers whose scores are
// scaled by its width.
func (n *net) scale(c *config, otherwise float64, wide int) {
	want := float64(n.head)
	if n.layers == wide {
		want = float64(n.width / n.heads)
	}
	if v := c.real("query_pre_attn_scalar", otherwise); v != want {
		c.fail("query_pre_attn_scalar", "is %g; %s of this size is read with %g", v, n.arch, want)
	}
}

// gemmas is what the Gemmas share.
func (n *net) gemmas(c *config) {
	const gelu = "gelu_pytorch_tanh"
	c.only("hidden_activation", "the net is converted with "+gelu+" only", gelu)
	c.only("hidden_act", "the net is converted with "+gelu+" only", gelu)
	c.only("attention_bias", "only false is known", false)
	c.only("use_bidirectional_attention", "only false is known", false)
}

// gemma2 is Gemma2Config.
func (n *net) gemma2(c *config) {
	n.gemma = true
	n.decoder(c, "gemma2", sizes{head: 256})
	n.gemmas(c)
	n.scale(c, 256, 46)
	n.local(c, 2)
	n.rope(c, 10000)
	n.shape(c, 0)
	n.real("attn_logit_softcapping", c.real("attn_logit_softcapping", 0))
	n.real("final_logit_softcapping", c.real("final_logit_softcapping", 0))
	n.number("attention.sliding_window", c.count("sliding_window", 0))
}

// gemma3 is Gemma3TextConfig.
func (n *net) gemma3(c *config) {
	n.gemma, n.headNorms = true, true
	n.decoder(c, "gemma3", sizes{heads: 8, kvHeads: 4, head: 256, vocab: 262208, context: 131072})
	n.gemmas(c)
	n.scale(c, 256, 62)
	n.local(c, 6)
	c.only("sliding_window_pattern", "only 6 is known", 6)
	c.only("_sliding_window_pattern", "only 6 is known", 6)
	if c.has("attn_logit_softcapping") {
		c.fail("attn_logit_softcapping", "is %.40s; gemma3 has none", c.raw["attn_logit_softcapping"])
	}
	near := c.real("rope_local_base_freq", 10000)
	if both := c.object("rope_parameters"); both != nil && both.has("full_attention") {
		full, local := both.object("full_attention"), both.object("sliding_attention")
		if full == nil || local == nil {
			c.fail("rope_parameters", "must have full_attention and sliding_attention")
			return
		}
		c.real("rope_theta", 1)
		n.turns(full, 1000000)
		local.only("rope_type", "local layers have the default only", "default")
		near = local.real("rope_theta", near)
		local.rest(nil)
		both.take(full)
		both.take(local)
		both.rest(nil)
		c.take(both)
	} else {
		n.rope(c, 1000000)
	}
	n.real("rope.freq_base_swa", near)
	n.shape(c, 1e-6)
	if c.has("final_logit_softcapping") {
		n.real("final_logit_softcapping", c.real("final_logit_softcapping", 0))
	}
	n.number("attention.sliding_window", c.count("sliding_window", 4096))
}

// encoder is BertConfig.
func (n *net) encoder(c *config) {
	n.arch, n.bert, n.tied = "bert", true, true
	n.layers, n.width, n.inner = c.count("num_hidden_layers", 0), c.count("hidden_size", 0), c.count("intermediate_size", 0)
	n.heads, n.vocab, n.context = c.count("num_attention_heads", 0), c.count("vocab_size", 0), c.count("max_position_embeddings", 0)
	n.kinds = c.count("type_vocab_size", 2)
	n.kvHeads, n.head = n.heads, n.width/n.heads
	n.bound(c)
	if n.width%n.heads != 0 {
		c.fail("num_attention_heads", "is %d, for a width of %d, which cannot be", n.heads, n.width)
	}
	c.only("hidden_act", "the net is converted with gelu only", "gelu")
	c.only("position_embedding_type", "only absolute is known", "absolute")
	c.only("is_decoder", "only false is known", false)
	c.only("add_cross_attention", "only false is known", false)
	c.has("tie_word_embeddings") // of a head that is left out
	n.number("block_count", n.layers)
	n.number("context_length", n.context)
	n.number("embedding_length", n.width)
	n.number("feed_forward_length", n.inner)
	n.number("attention.head_count", n.heads)
	n.real("attention.layer_norm_epsilon", c.real("layer_norm_eps", 1e-12))
	n.set("attention.causal", gguf.Num(false))
}

// rope reads how positions turn keys and queries: rope_parameters of transformers 5, or rope_theta and rope_scaling.
func (n *net) rope(c *config, base float64) {
	base = c.real("rope_theta", base)
	c.only("partial_rotary_factor", "only 1 is known", 1)
	p := c.object("rope_parameters")
	if old := c.object("rope_scaling"); p == nil {
		p = old
	}
	if p == nil {
		n.real("rope.freq_base", base)
		return
	}
	if whole := c.has("original_max_position_embeddings"); whole && !p.has("original_max_position_embeddings") {
		p.raw["original_max_position_embeddings"] = c.raw["original_max_position_embeddings"]
	}
	n.turns(p, base)
	c.take(p)
}

// turns reads one way to turn.
func (n *net) turns(p *config, base float64) {
	kind, old := "default", ""
	if p.get("type", &old) {
		kind = old
	}
	p.get("rope_type", &kind)
	base = p.real("rope_theta", base)
	p.only("partial_rotary_factor", "only 1 is known", 1)
	switch {
	case kind == "default":
	case kind == "linear":
		n.set("rope.scaling.type", gguf.Text("linear"))
		n.real("rope.scaling.factor", p.real("factor", 0))
	case kind == "llama3" && n.arch == "llama":
		n.llama3(p, base)
	default:
		p.fail("rope_type", "is %.40q, which is not converted for %s; default and linear are, and llama3 for llama", kind, n.arch)
	}
	n.real("rope.freq_base", base)
	p.rest(nil)
}

// llama3 makes the factors by which Llama 3 divides rope's frequencies: 1 for the fast ones, factor for the slow ones, and
// between them what lies between. The arithmetic is float32 where that of llama.cpp's converter is.
func (n *net) llama3(p *config, base float64) {
	factor, low, high := float32(p.real("factor", 8)), float32(p.real("low_freq_factor", 1)), float32(p.real("high_freq_factor", 4))
	old := float32(p.count("original_max_position_embeddings", 8192))
	if low >= high {
		p.fail("low_freq_factor", "is %g; it must be below high_freq_factor, %g", low, high)
		return
	}
	for i := 0; i < n.head; i += 2 {
		freq := 1 / float32(math.Pow(base, float64(float32(i)/float32(n.head))))
		wave := float32(2*math.Pi) * (1 / freq) // torch divides a number by a tensor so
		switch {
		case wave < old/high:
			n.freqs = append(n.freqs, 1)
		case wave > old/low:
			n.freqs = append(n.freqs, factor)
		default:
			smooth := (old/wave - low) / (high - low)
			n.freqs = append(n.freqs, 1/((1-smooth)/factor+smooth))
		}
	}
}
