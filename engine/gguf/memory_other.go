//go:build !linux && unix

package gguf

func advise([]byte) {}
