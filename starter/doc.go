// Package starter lays out four real models under a models folder: what a new user serves first. Called by cmd (serval
// model pull starter, make run). It imports the root and native, whose Store is the Fetcher.
//
// What a package carries is fetched when asked for and never committed; only the credit net, which is Serval's own, is in the
// repository (credit/train.py makes it).
package starter
