// Package serval holds the words that every part of Serval shares: Request, Input, Chunk, Sink, Handler, Tensor, Ref,
// Error and the types that cross package borders (Signature, ModelInfo, ModelSettings, Stats, Timing).
//
// Every package may import it; it imports the standard library only.
package serval
