//go:build race

package tree

const raceEnabled = true // the race detector makes pools forget
