// Package streamtest is the conformance suite of brokers: what a stream.Source, Target and Session must hold, shown with the
// real worker against the real broker. A broker's own tests call Run with a Bus.
//
// Used by tests only. It imports the root and stream.
package streamtest
