//go:build !amd64

package kernel

func hasVNNI() bool { return false }
