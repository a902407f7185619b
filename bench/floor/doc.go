// Command floor is the least that a server of the Open Inference Protocol can do in Go: net/http and grpc-go read the
// request and answer a constant. What bench/compare measures of it is what the machine, the loopback and the two
// libraries cost, so a real server's share of it is what is left for serving.
package main
