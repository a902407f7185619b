package stream

import "serval"

// Format turns messages into inputs, and answers into messages. It is safe for concurrent use.
type Format interface {
	// Decode fills in the call; what it points to may alias m. Errors are InvalidArgument or TooLarge, which make m a dead
	// letter at once.
	Decode(m *Message, model *serval.ModelInfo, call *Call) error
	// Encode sets out's Value and adds what headers the format has. The answer is good until Encode returns. What capacity
	// out's Value comes with, empty, is the result's to be written to; it need not be.
	Encode(m *Message, call *Call, answer *Answer, out *Message) error
}

// Decode is what Format's does.
type Decode func(m *Message, model *serval.ModelInfo, call *Call) error

// Gatherer is a Format that reads messages for less where several come one after the other.
type Gatherer interface {
	Format
	// Gather reads about n messages, for one goroutine. Their calls may share memory, each a piece of its own that is not
	// taken back while anybody holds it.
	Gather(n int) Decode
}

// Gather is what about n messages of a format are read with, by one goroutine: as a Gatherer does it, or one by one. A Format that
// stands around another one is a Gatherer that hands this on.
func Gather(f Format, n int) Decode {
	if g, ok := f.(Gatherer); ok && n > 1 {
		return g.Gather(n)
	}
	return f.Decode
}

// Call is one message on its way through the model.
type Call struct {
	Input    serval.Input
	ID       string // as the message gives it; "": none
	Priority int8
	Carry    any // from Decode to Encode: what of the message belongs into the result
}

// Answer is what a model said to one Call.
type Answer struct {
	Model   serval.Ref // with the version that answered
	Trace   string     // the W3C traceparent that the message came with; "": none
	Request string     // the request's id
	Outputs []serval.Tensor
	Text    string // of a model of text, all of its pieces
	Calls   []serval.ToolCall
	Finish  serval.Finish
	Vectors [][]float32
	Usage   serval.Usage
}

// The headers of every result, beside those of the message that it answers.
const (
	HeaderModel   = "serval-model"
	HeaderVersion = "serval-version"
	HeaderTrace   = "traceparent" // passed on
)
