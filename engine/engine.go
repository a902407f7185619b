package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"serval"
)

// Rank says how sure an engine is that a folder's artefact is its own.
type Rank uint8

// The ranks. The highest rank among all engines wins; a tie at the top is a load error that names both.
const (
	NotMine     Rank = iota
	OnlyIfAsked      // loads it when model.yaml names the engine
	Possible         // can load it
	Preferred        // made for it
)

// Engine turns an artefact into a Model. It is safe for concurrent use.
type Engine interface {
	// Name is the word that model.yaml and messages use: "onnx".
	Name() string
	// Platform is the Open Inference Protocol's name for what it loads: "onnxruntime_onnx".
	Platform() string
	// Detect looks at a version folder by names and first bytes only. With NotMine, the error says why not.
	Detect(fs.FS) (Rank, error)
	// Open loads the artefact. The Model it returns is a Batcher, a Decoder, or a serval.Handler that batches by itself.
	Open(context.Context, Spec) (Model, error)
}

// Claimer is an engine that serves some of the models that another one is made for, and better, which names and first bytes do not
// tell: where that one would load a model because the settings name no engine, the Claimer is asked first.
type Claimer interface {
	Engine
	// Instead is the other engine's name.
	Instead() string
	// Claim reads the header of what is in a version folder. It returns nil if this engine is to load it, with these settings; else
	// the error says why not.
	Claim(dir string, s *serval.ModelSettings) error
}

// Claimed returns the engine that loads a model which is e's by its names and first bytes: e, or one that claims it.
func Claimed(all []Engine, e Engine, dir string, s *serval.ModelSettings) Engine {
	for _, other := range all {
		if c, ok := other.(Claimer); ok && c.Instead() == e.Name() && c.Claim(dir, s) == nil {
			return c
		}
	}
	return e
}

// Spec is all that an engine is told about what it opens.
type Spec struct {
	Name     string // model
	Version  string
	Dir      string // absolute path of the version folder; the engine reads nothing outside it
	Root     string // the model's folder, where files that its settings name stand; "" = Dir
	Settings serval.ModelSettings
	Device   Device
	Threads  int // threads that one Execute may use; at least 1
	// Cores is how many threads all copies of the model together may use; 0 = Threads. A Decoder, of which there is one, takes
	// them all where Settings.Threads does not say.
	Cores int
	// Profile is a folder for an engine's own profile, in which the Model is then Profiled if the engine can; "" = off.
	Profile string
}

// Model is a loaded artefact. Close is called once, after the last call returned.
type Model interface {
	Signature() serval.Signature
	Memory() Memory
	Close() error
}

// Batcher is one loaded copy of a model. Execute is never called while another Execute of the same copy runs.
//
// Execute answers every call by Answer or Fail before it returns. One bad call never fails its neighbours. An error from
// Execute itself means that the whole batch failed; it then stands for every call not yet answered. The engine keeps no
// part of a call's inputs after Execute returns.
type Batcher interface {
	Model
	Execute(context.Context, []*Call) error
}

// Sharer is a Batcher that can make a further instance which shares its weights. Each instance is closed on its own, the
// one it was made from last.
type Sharer interface {
	Share(context.Context) (Batcher, error)
}

// Decoder is a model that answers in steps, all live sequences together. Its methods are called by one goroutine.
type Decoder interface {
	Model
	// Admit takes a call in, or returns ErrNoRoom; any other error is the call's answer.
	Admit(*Call) error
	// Step runs one forward pass over every live sequence, Emits what came out, and Ends the calls that are complete or
	// Canceled. It returns how many calls are still live. ErrStalled means that all of them are paused, since their readers
	// are slow: the next Step comes when one has made room. Any other error: it has ended them all with it.
	Step(context.Context) (live int, err error)
}

// Language is a Model of text, commonly a Decoder. Its calls' Input is a *serval.Generate, answered by chunks of
// *serval.Tokens, or a *serval.Encode, answered by one chunk of *serval.Embeddings.
type Language interface {
	Language() serval.Language
}

// Isolated marks an engine whose models run in a child process unless their settings say isolation: none.
type Isolated interface{ Isolated() }

// Planner is an Engine that can say what a model will take before it is loaded.
type Planner interface {
	// Plan reads the artefact's header only. That the model does not fit is no error; a damaged file or a setting that cannot
	// be is one.
	Plan(Spec) (*Plan, error)
}

// Plan is what a model will take in memory, in bytes, and for what.
type Plan struct {
	File    string     `json:"file"`
	Parts   []PlanPart `json:"parts"`
	Total   int64      `json:"total"`
	Free    int64      `json:"free"` // what the machine or its container has left; 0: not known
	Fits    bool       `json:"fits"`
	Context int        `json:"context,omitempty"` // of a model of text: most tokens of a sequence,
	Cache   int        `json:"cache,omitempty"`   // tokens in its key-value cache, of all sequences,
	Slots   int        `json:"slots,omitempty"`   // and sequences that are stepped together
	// Advice says what to change where it does not fit, or what was made smaller so that it does.
	Advice []string `json:"advice,omitempty"`
}

// PlanPart is a part of what a model takes.
type PlanPart struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Note  string `json:"note,omitempty"`
}

// Cached is implemented by a Decoder that keeps keys and values. Cache is how many of its tokens live sequences hold, and of how
// many; what is only kept in case that a prompt begins like it counts as free. It is called between Steps, by their goroutine.
type Cached interface {
	Cache() (used, size int)
}

// ErrNoRoom is a Decoder's answer when it has no slot or memory for another sequence now.
var ErrNoRoom = errors.New("engine: no room for another sequence")

// ErrStalled is a Decoder's answer when no live sequence could go on.
var ErrStalled = errors.New("engine: every sequence waits for its reader")

// Libraries finds the shared libraries that engines open; native implements it.
type Libraries interface {
	// Find returns the path of the named library ("onnxruntime"), or an error that says how to get it.
	Find(name string) (string, error)
}

// Folders is implemented by Libraries that have room on disk for what an engine keeps from one start to the next, and can do without.
type Folders interface {
	// Folder is where what name says is kept; it need not be there yet. "": nowhere.
	Folder(name string) string
}

// Memory is what a loaded model holds.
type Memory struct {
	Bytes     int64
	Estimated bool // true: worked out from the artefact, not measured
}

// Device is where a model runs.
type Device struct {
	Kind  string // "cpu", "cuda", "tensorrt", "rocm", "openvino", "coreml", …
	Index int
}

// ParseDevice reads "cpu", "cuda" or "cuda:1"; the empty text is the CPU.
func ParseDevice(s string) (Device, error) {
	if s == "" || s == "auto" {
		return Device{Kind: "cpu"}, nil
	}
	kind, index, found := strings.Cut(s, ":")
	d := Device{Kind: kind}
	if found {
		n, err := strconv.Atoi(index)
		if err != nil || n < 0 {
			return Device{}, fmt.Errorf("device %q: the part after ':' must be a device number, as in cuda:0", s)
		}
		d.Index = n
	}
	return d, nil
}

// String writes the device as ParseDevice reads it.
func (d Device) String() string {
	if d.Index == 0 {
		return d.Kind
	}
	return d.Kind + ":" + strconv.Itoa(d.Index)
}

// Optioned is an engine that can tell whether a model's options may hold a name: of the parameters in another server's
// configuration it is given those that it knows.
type Optioned interface{ Knows(option string) bool }

// Native marks an engine whose models run foreign code in this process: an artefact that was never loaded here is tried in
// a child process first, since a fault in C kills its process.
type Native interface{ Native() }
