// Package gateway is the policy that every request passes, whichever protocol it came by: it names the request, identifies
// the caller, holds it to its limits, gives it a deadline, and makes sure that whatever goes wrong below ends as one
// *serval.Error that the Observer hears of exactly once.
//
// Made and called by server. It imports the root and the standard library only.
package gateway
