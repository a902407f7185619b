// Package registry knows which models there are: it reads model folders, picks the versions to serve, loads and unloads
// them, and swaps a version only once its successor is warm.
//
// Made by server, which gives it a Loader; asked by route for every request and by the protocols for metadata. It imports
// the root only.
package registry
