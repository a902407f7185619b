//go:build !unix

package nats

// lock does nothing where there are no locks on files.
func lock(string) (unlock func(), err error) { return func() {}, nil }
