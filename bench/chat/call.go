package chat

import "time"

// The reasons for which a request fails, beside "HTTP 503" and its like.
const (
	Refused     = "connection refused"
	Unreachable = "connection error"       // another reason for which no connection came about
	Closed      = "connection closed"      // before a byte of the answer
	ClosedKept  = "kept connection closed" // the same, where the server closed what it had kept open just as the request went out
	Cut         = "stream cut"             // the connection ended within the answer
	NoDone      = "no [DONE]"              // the answer ended as if it were whole, without its last event
	NoFinish    = "no finish_reason"
	NoUsage     = "no usage" // the stream was whole, and had been asked for its usage
	BadEvent    = "bad SSE"  // an event or a line that is none, or whose JSON is none
	BadHTTP     = "bad HTTP"
	BadAnswer   = "bad answer" // embeddings: not what was asked for
	ErrorEvent  = "error in stream"
	TimedOut    = "timeout"
)

// Call is one request and how it went.
type Call struct {
	Index uint64 // of its conversation: what was said in it depends on nothing else but the workload's seed
	Turn  int    // from 0

	Due   time.Time // when it should have gone out; in a closed loop, when it did
	Sent  time.Time
	First time.Time // when its first content arrived; zero if none did
	Last  time.Time // and its last
	End   time.Time

	Gaps         []time.Duration // between deltas with content: as many as Deltas, less one
	Deltas       int
	MaxTokens    int // that were asked for; 0: unknown
	OutputTokens int64
	PromptTokens int64 // all of the prompt's
	CachedTokens int64 // of these, from a cache
	Texts        int   // embeddings: how many were asked for
	Finish       string

	Failure  string // "" for a success
	Detail   string // of a failure, for a person
	Sentence string // the answer as it stands between a JSON string's quotes; only where the next turn needs it

	sent, received int // bytes
	reconnects     int
	retried        int
	cacheKnown     bool
}

// TTFT is the time to the first content, from when the request was due; 0 if none came.
func (c *Call) TTFT() time.Duration {
	if c.First.IsZero() {
		return 0
	}
	return c.First.Sub(c.Due)
}

// TPOT is the time per output token after the first; 0 if there were fewer than two.
func (c *Call) TPOT() time.Duration {
	if c.OutputTokens < 2 || c.First.IsZero() {
		return 0
	}
	return c.Last.Sub(c.First) / time.Duration(c.OutputTokens-1)
}

// E2E is the time to the end of the answer, from when the request was due.
func (c *Call) E2E() time.Duration { return c.End.Sub(c.Due) }

// content notes that a delta with content arrived.
func (c *Call) content(now time.Time) {
	if c.First.IsZero() {
		c.First = now
	} else {
		c.Gaps = append(c.Gaps, now.Sub(c.Last))
	}
	c.Last = now
	c.Deltas++
}

func (c *Call) fail(reason, detail string) {
	c.Failure, c.Detail = reason, detail
}
