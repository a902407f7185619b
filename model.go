package serval

import "time"

// TensorInfo describes one input or output of a model.
type TensorInfo struct {
	Name     string
	DType    DType
	Shape    []int64  // -1 where the request chooses; nil: any rank
	Symbols  []string // the name of each dynamic dimension ("batch", "N"), "" where it has none; may be nil
	Optional bool     // inputs only: the model has a default for it
	Labels   []string // names of the last dimension's columns (classes), where known
}

// Signature is what a model takes and gives, in the model's own order.
type Signature struct {
	Inputs  []TensorInfo
	Outputs []TensorInfo
}

// Input returns the index of the input of that name, or -1.
func (s *Signature) Input(name string) int { return indexOf(s.Inputs, name) }

// Output returns the index of the output of that name, or -1.
func (s *Signature) Output(name string) int { return indexOf(s.Outputs, name) }

func indexOf(list []TensorInfo, name string) int {
	for i := range list {
		if list[i].Name == name {
			return i
		}
	}
	return -1
}

// State is where a model's version stands.
type State string

// The states, named as Triton's repository index shows them.
const (
	StateLoading     State = "LOADING"
	StateReady       State = "READY"
	StateUnloading   State = "UNLOADING"
	StateUnavailable State = "UNAVAILABLE"
)

// ModelInfo is what can be said of one version of a model without running it.
type ModelInfo struct {
	Name      string
	Version   string
	Versions  []string // all versions that are ready, ascending
	State     State
	Reason    string // why it is not ready, or why a reload was refused while the old copy serves on
	Engine    string // "onnx", …
	Platform  string // as the Open Inference Protocol names it: "onnxruntime_onnx", …
	Path      string // the artefact's folder
	Signature Signature
	Language  *Language     // nil: the model takes tensors
	Settings  ModelSettings // as in force: every default filled in
	Batching  Batching
	Memory    int64 // bytes, as far as the engine can tell
	Loaded    time.Time
	LoadTime  time.Duration
}

// Batching says whether rows of different requests share a batch, and why or why not.
type Batching struct {
	On     bool
	Reason string
}

// ModelSettings is a model.yaml: how one model is loaded and scheduled. The zero value of a field means its default.
type ModelSettings struct {
	Engine    string            `yaml:"engine" doc:"which engine loads it; default: the one that recognises the artefact"`
	Device    string            `yaml:"device" doc:"where it runs: cpu, cuda, cuda:1, auto"`
	File      string            `yaml:"file" doc:"name of the artefact in the version folder; default: the engine's own choice"`
	Versions  VersionPolicy     `yaml:"versions" doc:"which version folders are served"`
	Instances int               `yaml:"instances" doc:"copies that compute at the same time; 0: chosen from the cores and a measurement at load" min:"0"`
	Threads   int               `yaml:"threads" doc:"threads inside one call; 0: chosen so that instances × threads ≤ cores" min:"0"`
	Batching  BatchSettings     `yaml:"batching" doc:"how waiting requests are put together"`
	Queue     QueueSettings     `yaml:"queue" doc:"how many requests may wait, and for how long"`
	Aliases   map[string]string `yaml:"aliases" doc:"alias → version"`
	Labels    map[string]string `yaml:"labels" doc:"output name → file with one class label a line, in the model's folder"`
	Inputs    []TensorSettings  `yaml:"inputs" doc:"the inputs as clients see them, where the artefact has them otherwise"`
	Outputs   []TensorSettings  `yaml:"outputs" doc:"the outputs as clients see them, where the artefact has them otherwise; others are not shown"`
	Sequence  *SequenceSettings `yaml:"sequence" doc:"makes the model stateful"`
	Constants map[string]string `yaml:"constants" doc:"inputs that are always this value: name → number or text; clients do not give them"`
	Dims      map[string]int64  `yaml:"dims" doc:"sizes of named dynamic dimensions in the made-up inputs of the warm-up, where the model does not run on any size"`
	Warmup    []WarmupSettings  `yaml:"warmup" doc:"requests that are run before the version is served"`
	Recipe    *Recipe           `yaml:"recipe" doc:"how serval predict turns files into inputs and outputs into answers"`
	Options   map[string]string `yaml:"options" doc:"settings of the engine itself, as its page lists them"`
	Isolation string            `yaml:"isolation" doc:"process: the engine runs in a child process, which can die alone; none: in the server; default: as the engine needs it" enum:"process,none"`
	Memory    string            `yaml:"memory" doc:"most memory of the child process of an isolated model, as in 4GiB; it is restarted when it takes more; default: no limit"`
	Text      *TextSettings     `yaml:"text" doc:"of a model of text: its context, and how it answers where a request does not say"`

	// Declared is the Triton model configuration, as protobuf, that these settings were made from: clients that ask for the
	// configuration get it back. Nil: they come from Serval's own files. Package wire/triton writes and reads it.
	Declared []byte
	// Notes say what of the declared configuration has no effect, and why.
	Notes []string
	// Version, if set, says that the model's folder is its only version, whatever folders are in it, and what that is called.
	Version string
	// Loose says that clients may give a model's only input under any name and as any type of number.
	Loose bool
}

// TextSettings are a model of text's. The zero value of a field means its default.
type TextSettings struct {
	Context   int               `yaml:"context" doc:"most tokens of a prompt and its answer; 0: as the model was trained, if the memory allows" min:"0"`
	Slots     int               `yaml:"slots" doc:"sequences that are stepped together; 0: 8" min:"0"`
	Cache     int               `yaml:"cache" doc:"tokens in the key-value cache, of all sequences and of kept prefixes; 0: chosen from context and slots" min:"0"`
	Chunk     int               `yaml:"chunk" doc:"most prompt tokens that are read between two steps of running sequences; 0: chosen" min:"0"`
	Template  string            `yaml:"template" doc:"file with the chat template, in the model's folder; default: the model's own"`
	Reasoning string            `yaml:"reasoning" doc:"the tags around the model's reasoning, as in <think>…</think>; default: known from the template; none: it is not set apart"`
	Speculate *bool             `yaml:"speculate" doc:"guesses tokens from the text that is there and checks several at once, where that is faster; default: true of engine gguf, else false"`
	Adapters  map[string]string `yaml:"adapters" doc:"LoRA adapters: name → file in the model's folder"`
	Tensors   bool              `yaml:"tensors" doc:"clients give and get the tensors of an encoder, though its tokenizer stands beside it"`
	Pooling   string            `yaml:"pooling" doc:"how token vectors become a text's: mean, cls, last; default: the model's own" enum:"mean,cls,last"`

	MaxTokens   int      `yaml:"max_tokens" doc:"most tokens of an answer where the request does not say; 0: what fits" min:"0"`
	Temperature *float64 `yaml:"temperature" doc:"0: the most likely token; default: 1" min:"0"`
	TopP        *float64 `yaml:"top_p" doc:"default: 1" min:"0"`
	TopK        *int     `yaml:"top_k" doc:"0, the default: all" min:"0"`
	MinP        *float64 `yaml:"min_p" doc:"default: 0" min:"0"`
	Stop        []string `yaml:"stop" doc:"texts that end every answer"`
}

// VersionPolicy picks the versions to serve. At most one field is set; none means Latest: 1.
type VersionPolicy struct {
	Latest   int     `yaml:"latest" doc:"the n highest versions" min:"0"`
	All      bool    `yaml:"all" doc:"every version"`
	Specific []int64 `yaml:"specific" doc:"these versions" min:"1"`
}

// BatchSettings bounds the batches that a model's queue makes.
type BatchSettings struct {
	Mode      string        `yaml:"mode" doc:"auto (default: on where a probe shows that rows together equal rows alone), on, off" enum:"auto,on,off"`
	Max       int           `yaml:"max" doc:"most rows in a batch, of an ONNX encoder most tokens; 0: 64, and as many tokens as take 0.1 s" min:"0"`
	Preferred []int         `yaml:"preferred" doc:"sizes to close a batch at, when one can be reached" min:"1"`
	MaxDelay  time.Duration `yaml:"max_delay" doc:"how long a batch may wait to fill; 0: never waits"`
	Request   int           `yaml:"request" doc:"most rows of one request; more are refused; 0: no limit" min:"0"`
}

// QueueSettings bounds a model's queue.
type QueueSettings struct {
	Limit          int           `yaml:"limit" doc:"most calls that wait; more are refused at once; 0: 1024" min:"0"`
	MaxWait        time.Duration `yaml:"max_wait" doc:"refuse at once when the wait would be longer by the measured rate; 0: 1s, of an ONNX encoder 30s"`
	Timeout        time.Duration `yaml:"timeout" doc:"longest that a request may wait in the queue, if its own deadline is not sooner; 0: limits.request_timeout alone"`
	PriorityLevels int           `yaml:"priority_levels" doc:"number of priorities, 1 the most urgent; 0: 2 (the default priority is the middle one)" min:"0"`

	DefaultPriority int              `yaml:"default_priority" doc:"priority of requests that name none, or one that there is not; 0: the middle one, and the last for one that there is not" min:"0"`
	OnTimeout       string           `yaml:"on_timeout" doc:"what becomes of a request that waits longer than timeout: reject (default), or delay: it waits on, behind all others" enum:"reject,delay"`
	Priorities      []PriorityPolicy `yaml:"priorities" doc:"how single priorities wait"`
	ClientTimeout   string           `yaml:"client_timeout" doc:"a timeout that a request names: honour (default), or ignore" enum:"honour,ignore"`
}

// StatDuration is a count of events and the time they took together.
type StatDuration struct {
	Count uint64
	Total time.Duration
}

// BatchStat counts the executions of one batch size.
type BatchStat struct {
	Size    int // rows
	Input   StatDuration
	Compute StatDuration
	Output  StatDuration
}

// Stats is what happened to one version of a model since it was loaded.
type Stats struct {
	LastInference time.Time
	Inferences    uint64 // rows
	Executions    uint64 // batches
	Success       StatDuration
	Fail          StatDuration
	Queue         StatDuration
	Input         StatDuration
	Compute       StatDuration
	Output        StatDuration
	Batches       []BatchStat       // ascending by size
	Closed        map[string]uint64 // why batches closed: full, drained, delay, …
	Rejected      map[string]uint64 // why calls were refused: queue_full, wait, …
	Waiting       int               // calls in the queue now
	Instances     int
	Sequences     int // of a stateful model: those that have state now; of a Decoder: those that are stepped
	Tokens        Usage
	CacheUsed     int          // tokens of running sequences in a Decoder's cache of keys and values
	CacheSize     int          // tokens that it has room for; 0: it has none, or does not say
	Process       ProcessStats // of a model that runs in a process of its own
}

// ProcessStats is of the process of an isolated model.
type ProcessStats struct {
	PID      int    `json:"pid"`      // 0: there is none now
	Memory   int64  `json:"memory"`   // bytes that it has in RAM
	Restarts uint64 `json:"restarts"` // processes before it that ended
}
