package gguf

import (
	"errors"
	"fmt"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
)

// Instead is the engine whose models Claim may take.
func (e *Engine) Instead() string { return "llama" }

// Claim takes a model whose header it knows to the last tensor, on a processor that the kernels are written for, unless its
// settings ask for something that only engine/llama does. What memory is free does not matter: a model that is too large is told
// so by this engine's plan, today as tomorrow.
func (e *Engine) Claim(dir string, s *serval.ModelSettings) error {
	if kernel.Best() == kernel.Portable() {
		return errors.New("gguf: it has no kernels for this processor (AVX2 or AVX-512 VNNI is wanted), so that libllama is faster; engine: gguf asks for it all the same")
	}
	if _, err := storeOf(s.Options); err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	device, err := engine.ParseDevice(s.Device)
	if err != nil {
		return err
	}
	spec := &engine.Spec{Dir: dir, Settings: *s, Device: device}
	if err := checkSettings(spec); err != nil {
		return err
	}
	f, err := openFile(spec)
	if err != nil {
		return err
	}
	return errors.Join(known(f), f.Close())
}
