// Package route decides which model version answers a request.
//
// Called by server's chain twice: Resolve stands before the gateway, so that policy sees the version, and Dispatch after
// it. It imports the root only.
package route
