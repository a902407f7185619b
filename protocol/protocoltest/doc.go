// Package protocoltest has what the tests of protocols of text share: a server that answers, and a fuzz target for all that
// clients may send.
//
// Used by tests of the packages in protocol. It imports the root and protocol.
package protocoltest
