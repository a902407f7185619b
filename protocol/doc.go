// Package protocol is the contract of the wire: a protocol turns bytes into a serval.Request and chunks into bytes, and
// nothing else. Its routes say who may call them; the server mounts them and checks that before the protocol is entered.
//
// Called by server. It imports the root and the shared parts; each protocol is a folder below, which imports this package
// and never a sibling.
package protocol
