package llama

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// modelParams is C's llama_model_params of llama.cpp v0.5.
type modelParams struct {
	Devices      uintptr // ggml_backend_dev_t*, ends with NULL; NULL: all
	BuftOverride uintptr
	GPULayers    int32 // negative: all
	SplitMode    int32
	LoadMode     int32 // -1 auto, 0 none, 1 mmap
	LazyMode     int32
	MainGPU      int32
	_            [4]byte
	TensorSplit  uintptr
	Progress     uintptr
	ProgressData uintptr
	KVOverrides  uintptr
	VocabOnly    bool
	CheckTensors bool
	ExtraBufts   bool
	NoHost       bool
	NoAlloc      bool
	LoadMTP      bool
	_            [2]byte
}

// contextParams is C's llama_context_params of llama.cpp v0.5.
type contextParams struct {
	Ctx              uint32 // cells of the key-value cache
	Batch            uint32 // most tokens of a call to llama_decode
	Ubatch           uint32 // most tokens that are computed at once
	SeqMax           uint32
	RsSeq            uint32
	OutputsMax       uint32
	OutputsMaxPerSeq uint32
	Threads          int32
	ThreadsBatch     int32
	CtxType          int32
	RopeScaling      int32
	Pooling          int32
	Attention        int32
	FlashAttention   int32 // -1: where it can
	RopeFreqBase     float32
	RopeFreqScale    float32
	YarnExtFactor    float32
	YarnAttnFactor   float32
	YarnBetaFast     float32
	YarnBetaSlow     float32
	YarnOrigCtx      uint32
	DefragThold      float32
	CbEval           uintptr
	CbEvalData       uintptr
	TypeK            int32 // ggml_type
	TypeV            int32
	Abort            uintptr
	AbortData        uintptr
	Embeddings       bool
	OffloadKQV       bool
	NoPerf           bool
	OpOffload        bool
	SWAFull          bool
	Unified          bool
	_                [2]byte
	Samplers         uintptr
	NSamplers        uint64
	Other            uintptr
}

// rawBatch is C's llama_batch: pointers into C's memory, or into Go's pinned for the call.
type rawBatch struct {
	N      int32
	_      [4]byte
	Token  uintptr
	Embd   uintptr
	Pos    uintptr
	NSeq   uintptr
	Seq    uintptr
	Output uintptr
}

// quantizeParams is C's llama_model_quantize_params of llama.cpp v0.5. Only tests quantise.
type quantizeParams struct {
	Threads         int32
	Ftype           int32
	OutputType      int32
	EmbeddingType   int32
	AllowRequantize bool
	QuantizeOutput  bool
	OnlyCopy        bool
	Pure            bool
	KeepSplit       bool
	DryRun          bool
	_               [2]byte
	Imatrix         uintptr
	KVOverrides     uintptr
	TensorTypes     uintptr
	Prune           uintptr
	MaxBuf          uint64
}

// The sizes that the C compiler gives these structs on 64-bit platforms; a struct edited wrongly does not compile.
const (
	_ = uint(unsafe.Sizeof(modelParams{}) - 80)
	_ = uint(80 - unsafe.Sizeof(modelParams{}))
	_ = uint(unsafe.Sizeof(contextParams{}) - 160)
	_ = uint(160 - unsafe.Sizeof(contextParams{}))
	_ = uint(unsafe.Sizeof(rawBatch{}) - 56)
	_ = uint(56 - unsafe.Sizeof(rawBatch{}))
)

// api are the functions that this package calls, bound once. Pointers are C's; names are those of llama.h and ggml-backend.h
// without their prefix.
type api struct {
	version         func() string
	backendInit     func()
	loadBackends    func(dir string)
	logSet          func(callback, data uintptr)
	abortSet        func(callback uintptr)
	supportsGPU     func() bool
	maxSequences    func() uint64
	modelDefaults   func() modelParams
	contextDefaults func() contextParams

	modelLoad   func(path string, p modelParams) uintptr
	modelSplits func(paths uintptr, n uint64, p modelParams) uintptr
	modelFree   func(model uintptr)
	getVocab    func(model uintptr) uintptr
	nCtxTrain   func(model uintptr) int32
	nEmbdOut    func(model uintptr) int32
	nSWA        func(model uintptr) int32
	nClsOut     func(model uintptr) uint32
	modelSize   func(model uintptr) uint64
	hasEncoder  func(model uintptr) bool
	hasDecoder  func(model uintptr) bool
	isRecurrent func(model uintptr) bool
	isHybrid    func(model uintptr) bool
	isDiffusion func(model uintptr) bool

	nTokens func(vocab uintptr) int32
	isEOG   func(vocab uintptr, token int32) bool

	contextNew  func(model uintptr, p contextParams) uintptr
	contextFree func(ctx uintptr)
	nCtx        func(ctx uintptr) uint32
	poolingType func(ctx uintptr) int32
	getMemory   func(ctx uintptr) uintptr
	setThreads  func(ctx uintptr, n, batch int32)
	attachPool  func(ctx, pool, batch uintptr)
	detachPool  func(ctx uintptr)

	decode       func(ctx uintptr, b rawBatch) int32
	encode       func(ctx uintptr, b rawBatch) int32
	synchronize  func(ctx uintptr)
	logitsAt     func(ctx uintptr, i int32) uintptr
	embeddingsOf func(ctx uintptr, seq int32) uintptr

	memClear func(mem uintptr, data bool)
	seqRm    func(mem uintptr, seq, p0, p1 int32) bool
	seqCp    func(mem uintptr, from, to, p0, p1 int32)
	posMin   func(mem uintptr, seq int32) int32
	posMax   func(mem uintptr, seq int32) int32

	adapterLoad func(model uintptr, path string) uintptr
	adapterFree func(adapter uintptr)
	adapterSet  func(ctx, list uintptr, n uint64, scales uintptr) int32

	quantizeDefaults func() quantizeParams
	quantize         func(from, to string, p *quantizeParams) uint32

	devCount  func() uint64
	devGet    func(i uint64) uintptr
	devName   func(dev uintptr) string
	devDesc   func(dev uintptr) string
	devType   func(dev uintptr) int32
	devMemory func(dev uintptr, free, total *uint64)
	regByName func(name string) uintptr
	regProc   func(reg uintptr, name string) uintptr
}

// bind looks every function up. handle is libllama's, whose dependencies dlsym searches too.
func (a *api) bind(handle uintptr) error {
	for _, f := range []struct {
		at   any
		name string
	}{
		{&a.version, "llama_version"}, {&a.backendInit, "llama_backend_init"}, {&a.loadBackends, "ggml_backend_load_all_from_path"},
		{&a.logSet, "llama_log_set"}, {&a.abortSet, "ggml_set_abort_callback"}, {&a.supportsGPU, "llama_supports_gpu_offload"}, {&a.maxSequences, "llama_max_parallel_sequences"},
		{&a.modelDefaults, "llama_model_default_params"}, {&a.contextDefaults, "llama_context_default_params"},
		{&a.modelLoad, "llama_model_load_from_file"}, {&a.modelSplits, "llama_model_load_from_splits"}, {&a.modelFree, "llama_model_free"},
		{&a.getVocab, "llama_model_get_vocab"}, {&a.nCtxTrain, "llama_model_n_ctx_train"}, {&a.nEmbdOut, "llama_model_n_embd_out"},
		{&a.nSWA, "llama_model_n_swa"}, {&a.nClsOut, "llama_model_n_cls_out"}, {&a.modelSize, "llama_model_size"},
		{&a.hasEncoder, "llama_model_has_encoder"}, {&a.hasDecoder, "llama_model_has_decoder"}, {&a.isRecurrent, "llama_model_is_recurrent"},
		{&a.isHybrid, "llama_model_is_hybrid"}, {&a.isDiffusion, "llama_model_is_diffusion"},
		{&a.nTokens, "llama_vocab_n_tokens"}, {&a.isEOG, "llama_vocab_is_eog"},
		{&a.contextNew, "llama_init_from_model"}, {&a.contextFree, "llama_free"}, {&a.nCtx, "llama_n_ctx"}, {&a.poolingType, "llama_pooling_type"},
		{&a.getMemory, "llama_get_memory"}, {&a.setThreads, "llama_set_n_threads"}, {&a.attachPool, "llama_attach_threadpool"},
		{&a.detachPool, "llama_detach_threadpool"}, {&a.decode, "llama_decode"}, {&a.encode, "llama_encode"}, {&a.synchronize, "llama_synchronize"},
		{&a.logitsAt, "llama_get_logits_ith"}, {&a.embeddingsOf, "llama_get_embeddings_seq"},
		{&a.memClear, "llama_memory_clear"}, {&a.seqRm, "llama_memory_seq_rm"}, {&a.seqCp, "llama_memory_seq_cp"},
		{&a.posMin, "llama_memory_seq_pos_min"}, {&a.posMax, "llama_memory_seq_pos_max"},
		{&a.adapterLoad, "llama_adapter_lora_init"}, {&a.adapterFree, "llama_adapter_lora_free"}, {&a.adapterSet, "llama_set_adapters_lora"},
		{&a.quantizeDefaults, "llama_model_quantize_default_params"}, {&a.quantize, "llama_model_quantize"},
		{&a.devCount, "ggml_backend_dev_count"}, {&a.devGet, "ggml_backend_dev_get"}, {&a.devName, "ggml_backend_dev_name"},
		{&a.devDesc, "ggml_backend_dev_description"}, {&a.devType, "ggml_backend_dev_type"}, {&a.devMemory, "ggml_backend_dev_memory"},
		{&a.regByName, "ggml_backend_reg_by_name"}, {&a.regProc, "ggml_backend_reg_get_proc_address"},
	} {
		symbol, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return fmt.Errorf("it has no %s", f.name)
		}
		purego.RegisterFunc(f.at, symbol)
	}
	return nil
}

// defaultsFit says whether the library's structs are laid out as this package has them: each default stands where it belongs.
// It returns the first field that does not.
func (a *api) defaultsFit() (field string, ok bool) {
	c, m := a.contextDefaults(), a.modelDefaults()
	for _, check := range []struct {
		name string
		ok   bool
	}{
		{"n_ctx", c.Ctx == 512}, {"n_batch", c.Batch == 2048}, {"n_ubatch", c.Ubatch == 512}, {"n_seq_max", c.SeqMax == 1},
		{"n_rs_seq", c.RsSeq == 0}, {"n_outputs_max", c.OutputsMax == 0}, {"n_outputs_max_per_seq", c.OutputsMaxPerSeq == 1},
		{"n_threads", c.Threads > 0 && c.Threads < 1<<16}, {"n_threads_batch", c.ThreadsBatch == c.Threads}, {"ctx_type", c.CtxType == 0},
		{"rope_scaling_type", c.RopeScaling == -1}, {"pooling_type", c.Pooling == -1}, {"attention_type", c.Attention == -1},
		{"flash_attn_type", c.FlashAttention == -1}, {"rope_freq_base", c.RopeFreqBase == 0}, {"yarn_ext_factor", c.YarnExtFactor == -1},
		{"yarn_beta_slow", c.YarnBetaSlow == -1}, {"defrag_thold", c.DefragThold == -1}, {"cb_eval", c.CbEval == 0},
		{"type_k", c.TypeK == typeF16}, {"type_v", c.TypeV == typeF16}, {"abort_callback", c.Abort == 0},
		{"embeddings", !c.Embeddings}, {"offload_kqv", c.OffloadKQV}, {"no_perf", c.NoPerf}, {"op_offload", c.OpOffload},
		{"swa_full", c.SWAFull}, {"kv_unified", !c.Unified}, {"samplers", c.Samplers == 0 && c.NSamplers == 0}, {"ctx_other", c.Other == 0},
		{"devices", m.Devices == 0}, {"n_gpu_layers", m.GPULayers >= -1 && m.GPULayers < 1<<16}, {"split_mode", m.SplitMode == 1},
		{"load_mode", m.LoadMode >= -1 && m.LoadMode <= 4}, {"main_gpu", m.MainGPU == 0}, {"tensor_split", m.TensorSplit == 0},
		{"progress_callback", m.Progress == 0}, {"vocab_only", !m.VocabOnly}, {"check_tensors", !m.CheckTensors},
		{"use_extra_bufts", m.ExtraBufts}, {"no_alloc", !m.NoAlloc},
	} {
		if !check.ok {
			return check.name, false
		}
	}
	return "", true
}

// ggml's types that a key-value cache may have.
const (
	typeF16  = 1
	typeQ4_0 = 2
	typeQ8_0 = 8
	typeBF16 = 30
)
