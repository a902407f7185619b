// Package test starts the real program, built with the race detector, and uses it over its sockets as the field does: with
// tritonclient, KServe's SDK, grpcurl, its own commands, and with requests that nobody should send. test/setup.sh installs
// the clients; hurt/ has the tests that take long or break things.
//
// It imports no more than a user of the program could: the root, wire, and internal/testkit, which starts servers.
package test
