package serval

import "time"

// StreamState is where a stream stands.
type StreamState string

// The states.
const (
	StreamStarting StreamState = "starting" // its broker is being reached
	StreamRunning  StreamState = "running"
	StreamWaiting  StreamState = "waiting" // something that it needs is missing; Reason says what, and it tries on
	StreamPaused   StreamState = "paused"  // by an operator; what was under way is finished
	StreamDraining StreamState = "draining"
	StreamStopped  StreamState = "stopped"
)

// StreamStatus is what can be said of a stream now. Counts are of messages, since this server started.
type StreamStatus struct {
	Name       string
	Model      string
	Tenant     string
	State      StreamState
	Reason     string // why it waits, or what went wrong last
	Delivery   string
	Replaying  bool   // messages of it are being replayed
	Configured bool   // it stands in the server's configuration file, and was not made at run time
	From, To   string // what is read and what is written, as people say it

	Read      uint64
	Written   uint64            // with their results
	Dead      map[string]uint64 // dead letters, by the code of their reason
	Dropped   uint64            // without a dead letter, as configured
	Retries   map[string]uint64 // calls and writes that were done again, by the code of their reason
	Aborted   uint64            // transactions that were undone; their messages are read again
	Lag       int64             // messages that wait at the broker behind those that were read; -1: not known
	InFlight  int               // read and not yet written
	Bytes     int64             // of those
	Oldest    time.Time         // when the oldest of those was made; zero: there is none
	Last      time.Time         // when a result was written last
	Aged      uint64            // of Written: those that say when they were made
	Age       float64           // seconds from then to the writing of their results, together
	Calls     uint64            // of the model; a call may hold the rows of many messages
	Rebalance uint64            // how often lanes were handed over to another worker
}
