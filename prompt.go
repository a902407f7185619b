package serval

import "encoding/json"

// Chat is a conversation that a model goes on with: an Input. task renders it with the model's own template.
type Chat struct {
	Messages []Message
	Tools    []Tool
	// ToolMode says whether tools are called: "auto" (also ""), "none", "required", or "named": the tool ToolName.
	ToolMode string
	ToolName string
	// OneCall allows one tool call at most in an answer.
	OneCall bool
	// Continue says that the last message, an assistant's, is unfinished and is gone on with.
	Continue bool
	// Think turns a model's reasoning on or off, where its template knows that; nil: as the model does by itself.
	Think *bool
	// Variables are further variables of the template.
	Variables map[string]any
	Generation
}

// Message is one turn of a conversation.
type Message struct {
	Role      string // "system", "user", "assistant" or "tool"; "developer" is read as "system"
	Content   string
	Reasoning string // an assistant's, as it came in an earlier answer
	Name      string
	Calls     []ToolCall // an assistant's
	CallID    string     // a tool's: the call that it answers
}

// Tool is a function that a model may ask for.
type Tool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // a JSON Schema; nil: no parameters
	Strict      bool            // the arguments must fit the schema
}

// ToolCall is a model's wish that a function be called.
type ToolCall struct {
	ID        string
	Name      string
	Arguments string // JSON text
}

// Completion is a text, or tokens, that a model goes on with as they stand: an Input.
type Completion struct {
	Text   string
	Tokens []int32 // used if not nil
	// Special says that names of special tokens in Text stand for those tokens.
	Special bool
	Echo    bool // the answer begins with the prompt
	Generation
}

// MaxChoices is how many answers one request may ask for.
const MaxChoices = 16

// Generation is what a client wishes of an answer. A nil field means the model's default.
type Generation struct {
	Limit             *int // most tokens of the answer; nil: what fits
	N                 int  // answers; 0: 1
	Temperature       *float64
	TopP, MinP        *float64
	TopK              *int // 0: all
	RepetitionPenalty *float64
	PresencePenalty   *float64
	FrequencyPenalty  *float64
	PenaltyWindow     *int // tokens that the penalties look back on; 0: none, -1: all
	Seed              *int64
	Bias              []TokenBias
	Stop              []string // the answer ends before any of these
	StopTokens        []int32
	KeepStop          bool // the answer holds the stop text that ended it
	IgnoreEnd         bool // the model's own end tokens do not end the answer
	// Logprobs asks for the log-probability of each token and of this many most likely ones; nil: none.
	Logprobs *int
	// Constraint is what the answer must look like; nil: anything.
	Constraint *Constraint
	// Adapter is the LoRA adapter to use, by the name that the model's settings give it; "": none.
	Adapter string
	// Speculate turns speculative decoding off or on; nil: as the model's settings say, or its engine.
	Speculate *bool
	// Alone asks that no other request shares a batch with this one, so that it can be repeated bit by bit.
	Alone bool
}

// TokenBias is added to a token's logit before sampling.
type TokenBias struct {
	Token int32
	Bias  float32
}

// Constraint is a language that a finished answer is a word of.
type Constraint struct {
	Kind   string // "json_object", "json_schema", "regex", "choice" or "gbnf"
	Source string // the schema, expression or grammar; of a choice, a JSON array of strings
	Param  string // the client's name of the field that it came in, for messages
}

// Texts are texts to embed: an Input.
type Texts struct {
	List       []Text
	Dimensions int    // the first n of the model's, scaled to length 1 again; 0: all
	Raw        bool   // not scaled to length 1
	Pooling    string // "mean", "cls" or "last"; "": the model's own
	Truncate   bool   // what is too long is cut; else it is an error
}

// Text is a text, or the tokens of one.
type Text struct {
	Text   string
	Tokens []int32 // used if not nil
}

// Rank asks how well documents answer a query: an Input.
type Rank struct {
	Query     string
	Documents []string
	Raw       bool // scores as the model gives them; else between 0 and 1
	Truncate  bool // what is too long is cut; else it is an error
	// Most tokens of a document; longer ones are cut to it, and Scores says which. 0: no limit.
	Most int
}

// Tokenize asks for the tokens of a text or of a rendered conversation: an Input.
type Tokenize struct {
	Text string
	Chat *Chat // used if not nil
	// Bare leaves out the special tokens that the model puts around a text; Special reads those named in it.
	Bare    bool
	Special bool
}

// Detokenize asks for the text of tokens: an Input.
type Detokenize struct{ Tokens []int32 }

// Generate is what a Decoder takes: tokens to go on from. task makes it; everything is decided in it.
type Generate struct {
	Tokens     []int32 // of the prompt, at least one; prompt and Limit fit the model's context together
	Limit      int     // most tokens to make; 0: only the prompt's log-probabilities are asked for
	Sampling   Sampling
	Constraint *Constraint
	// Logprobs is how many most likely tokens are told beside each token and its own log-probability; -1: none of it.
	// PromptLogprobs is the same for the prompt's tokens.
	Logprobs, PromptLogprobs int
	Adapter                  string
	// Salt parts the prefix cache: only requests with the same salt share what they have in common.
	Salt      string
	Speculate bool
	Alone     bool
}

// Sampling is how the next token is picked from logits. With Temperature 0 it is the most likely one.
type Sampling struct {
	Temperature       float32
	TopP, MinP        float32 // 1 and 0: off
	TopK              int     // 0: off
	RepetitionPenalty float32 // 1: off
	PresencePenalty   float32
	FrequencyPenalty  float32
	PenaltyWindow     int // last tokens, of prompt and answer, that penalties count; -1: all
	Seed              uint64
	Bias              []TokenBias
	StopTokens        []int32 // beside the model's own
	IgnoreEnd         bool
}

// Encode is what an engine takes that makes vectors, or scores, of tokens. task makes it.
type Encode struct {
	List    [][]int32
	Types   [][]int32 // of each token, which text of a pair it is of; nil: all are of the first
	Pooling string    // "mean", "cls", "last", "rank"; "": the model's own
}

func (*Chat) isInput()       {}
func (*Completion) isInput() {}
func (*Texts) isInput()      {}
func (*Rank) isInput()       {}
func (*Tokenize) isInput()   {}
func (*Detokenize) isInput() {}
func (*Generate) isInput()   {}
func (*Encode) isInput()     {}

// Delta is the next piece of a text answer: an Output of task.
type Delta struct {
	Text      string // whole characters only
	Reasoning string
	Calls     []CallDelta
	Logprobs  []TokenText // of the tokens that end in this piece
	// StopText is the stop text that ended the answer, in the last piece.
	StopText string
}

// CallDelta is a piece of a tool call. The first piece of each brings ID and Name.
type CallDelta struct {
	Index     int
	ID, Name  string
	Arguments string
}

// TokenText is a token as clients see it.
type TokenText struct {
	ID      int32
	Bytes   []byte
	Logprob float32
	None    bool // the first token of a prompt has no log-probability
	Top     []TokenText
	Prompt  bool // of the echoed prompt
	Offset  int  // where its text begins in the answer, in bytes
}

// Tokens is what a Decoder made in a step: an Output of engines.
type Tokens struct {
	List   []Token
	Prompt []Token // the prompt's, once, where their log-probabilities were asked for
}

// Token is one token and its log-probability (natural, of the raw distribution, before temperature and filters).
type Token struct {
	ID      int32
	Logprob float32
	Top     []Token // most likely first
}

// Embeddings are vectors, one for each text, or of a token list's Encode; a Rank's Encode has vectors of one number.
type Embeddings struct{ List [][]float32 }

// Scores are one for each document.
type Scores struct {
	List []float32
	Cut  []int // documents that were longer than Rank.Most, ascending
}

// Pieces are the tokens of a text, or the text of tokens.
type Pieces struct {
	IDs     []int32
	Texts   []string // of each token; not UTF-8 by itself, perhaps
	Text    string
	Context int // the model's
}

func (*Delta) isOutput()      {}
func (*Tokens) isOutput()     {}
func (*Embeddings) isOutput() {}
func (*Scores) isOutput()     {}
func (*Pieces) isOutput()     {}

// Language is what is known of a model of text.
type Language struct {
	File     string // whose vocabulary and template tasks read: a GGUF file, or tokenizer.json
	Context  int    // most tokens of one sequence, prompt and answer together
	Slots    int    // sequences that are stepped together
	Generate bool
	Embed    bool
	Rank     bool
	Width    int    // of a vector
	Pooling  string // the model's own
	Adapters []string
	// Speculate says that it guesses tokens where neither a request nor the settings say.
	Speculate bool
}
