// Package wire is the home of generated protobuf code: a folder for each proto package, with its .proto files, which are our
// own, written from the field numbers that the field's clients use, and the Go code that generate.sh makes of them.
//
// There is one copy of a proto package in the binary: two copies of "inference" register the same names twice, which
// panics at start. So every user of a message imports it from here. The generated code is exempt from the rule against
// init functions. The folders import the protobuf and gRPC modules and nothing of Serval.
package wire
