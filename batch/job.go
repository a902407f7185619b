package batch

import (
	"context"
	"time"

	"serval"
)

// Job is what is asked for: a data set, a model, and where the answers go. It is plain data, and the queue keeps it as JSON.
type Job struct {
	Model  string   `json:"model"`  // a serval.Ref
	Input  []string `json:"input"`  // locations, in this order
	Output string   `json:"output"` // a location
	// Formats by name, with their own options; "": by the names' endings.
	InputFormat   string            `json:"input_format,omitempty"`
	OutputFormat  string            `json:"output_format,omitempty"`
	InputOptions  map[string]string `json:"input_options,omitempty"`
	OutputOptions map[string]string `json:"output_options,omitempty"`
	// Map gives inputs of the model their columns; several are a matrix's. Others go by the rules of serval.Signature.Plan.
	Map map[string][]string `json:"map,omitempty"`
	// Passthrough are columns that are kept beside the answer: nil: those that no input takes; ["all"], ["none"], or names.
	Passthrough []string `json:"passthrough,omitempty"`
	// Want names outputs, which are then written as the model gives them; none: as its recipe says.
	Want []string `json:"want,omitempty"`
	// MaxErrors is how many bad rows end the job as failed: "100", or "1%" of the rows so far; "": they never do.
	MaxErrors string `json:"max_errors,omitempty"`
	Rows      int    `json:"rows,omitempty"`     // of a block; 0: chosen
	Parallel  int    `json:"parallel,omitempty"` // requests under way; 0: chosen
	Limit     int64  `json:"limit,omitempty"`    // most rows that are read; 0: all
	// Text is how rows become requests of a model of text; nil: a column 'prompt', 'messages' or 'text'.
	Text *Text `json:"text,omitempty"`
}

// Text says how rows become requests of a model of text, and how it answers.
type Text struct {
	// Task is "chat", "completion" or "embed"; "": by what the model can do.
	Task string `json:"task,omitempty"`
	// Prompt and System are templates over columns: "Classify: {text}"; {{ and }} are braces. "": the column 'messages', or the
	// column 'prompt' as it stands ('text' to embed).
	Prompt string `json:"prompt,omitempty"`
	System string `json:"system,omitempty"`
	// The answer. Nil: the model's default.
	MaxTokens   *int               `json:"max_tokens,omitempty"`
	Temperature *float64           `json:"temperature,omitempty"`
	TopP        *float64           `json:"top_p,omitempty"`
	Seed        *int64             `json:"seed,omitempty"`
	Stop        []string           `json:"stop,omitempty"`
	Constraint  *serval.Constraint `json:"constraint,omitempty"`
}

// Options are a Job with all that Run needs to do it.
type Options struct {
	Job     Job
	Handler serval.Handler
	Model   serval.ModelInfo // of the version that answers
	Digest  string           // of its artefact, where it is known: it may not change while a job is resumed
	Inputs  []Object
	Target  Target
	Formats []Format
	// Dir is a folder for the unfinished output and the checkpoint; "": beside the output, where Target has a Path, else it is an
	// error. Two jobs may share a folder if their targets differ.
	Dir string
	// ID begins the requests' ids; "": "batch".
	ID string
	// Restart throws an earlier run's checkpoint away, and replaces an output that is there.
	Restart bool
	// Part says that the job is a part of a larger one, from 1 on; 0: it is none. A part may have no row that is not bad, and
	// From is where its first input begins, Kept and Asked are what the larger job's first object settled.
	Part  int
	From  Mark
	Kept  []Column
	Asked []string
	// Progress is called from one goroutine when something changed, a few times a second at most; nil: nobody looks. It must
	// not block.
	Progress func(Progress)
	// Patience is how long the model may refuse to work (overloaded, loading) before the job stops; 0: 10 minutes.
	Patience time.Duration
	// Checkpoint is how often the work is brought to the disk; 0: every 2 seconds.
	Checkpoint time.Duration
	// Priority of the requests; 0: the least urgent. Credential is the key that they bring, if any.
	Priority   int8
	Credential string
}

// Progress says how far a job is.
type Progress struct {
	Rows    int64         `json:"rows"` // read, answered and written; with those of runs before this one
	Bad     int64         `json:"bad"`
	Resumed int64         `json:"resumed"` // rows of runs before this one
	Done    float64       `json:"done"`    // part of the whole, 0 to 1; -1: not known
	Elapsed time.Duration `json:"elapsed"` // of this run
	Left    time.Duration `json:"left"`    // at this run's rate; -1: not known
	Retries int64         `json:"retries"`
	Usage   serval.Usage  `json:"usage"`
}

// Report is what a job came to.
type Report struct {
	Progress
	Output string `json:"output"`
	Errors string `json:"errors,omitempty"` // the side file's name, if there are bad rows
	// Columns are those of the output; nil: it has no rows. Why is the reason of the last bad row that this run met.
	Columns []Column `json:"-"`
	Why     string   `json:"-"`
}

// Run does a job, or goes on with one that stopped. It returns once the output is published; after any error, also a cancelled
// ctx's, the checkpoint holds what was done, and the same call goes on from there (see Resumable).
func Run(ctx context.Context, o Options) (*Report, error) {
	r, err := newRun(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.run(ctx)
}
