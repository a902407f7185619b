// Package mlserver reads MLServer's model-settings.json and says what Serval does with it: which engine serves the runtime
// that it names, or why none does and what will.
//
// Called by server. It imports the root.
package mlserver
