package fake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"serval"
	"serval/engine"
)

// faultSpec is something bad that a model does, as an engine's C code may. It is for models in processes of their own: but for
// fail, it ends or stops the process that it happens in.
type faultSpec struct {
	// Do is crash (as by a bug: it says so and dies), kill (it is gone without a word, as when memory runs out), exit (with code
	// 3), hang (it computes for ever), leak (it takes Bytes and keeps them) or fail (an error).
	Do string `json:"do"`
	At string `json:"at"` // open, call (Execute or Admit), or step (after the first chunk of an answer)
	// Value, if set, is the first number of the first input of the calls that it happens to.
	Value *float64 `json:"value"`
	// Once is a file in the version's folder: it happens only where that can be made, which is once.
	Once  string `json:"once"`
	Bytes int    `json:"bytes"`
}

// faults are a model's; its instances share them.
type faults struct {
	list []faultSpec
	dir  string

	mu     sync.Mutex
	leaked [][]byte
}

func (f *faults) check() error {
	for _, s := range f.list {
		switch {
		case !slices.Contains([]string{"crash", "kill", "exit", "hang", "leak", "fail"}, s.Do):
			return fmt.Errorf("do: %q; use crash, kill, exit, hang, leak or fail", s.Do)
		case !slices.Contains([]string{"open", "call", "step"}, s.At):
			return fmt.Errorf("at: %q; use open, call or step", s.At)
		case s.Once != "" && !filepath.IsLocal(s.Once):
			return fmt.Errorf("once: %q must be a file in the version's folder", s.Once)
		case s.Bytes < 0:
			return errors.New("bytes: must not be negative")
		}
	}
	return nil
}

// happen does what is due. The error is a fault's of the kind fail.
func (f *faults) happen(at string, c *engine.Call) error {
	for i := range f.list {
		s := &f.list[i]
		if s.At != at || s.Value != nil && (c == nil || !leads(c, *s.Value)) {
			continue
		}
		if s.Once != "" {
			file, err := os.OpenFile(filepath.Join(f.dir, s.Once), os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				continue
			}
			_ = file.Close()
		}
		if err := f.do(s); err != nil {
			return err
		}
	}
	return nil
}

func (f *faults) do(s *faultSpec) error {
	switch s.Do {
	case "fail":
		return serval.Errorf(serval.InvalidArgument, "the model fails, as it was told to").At("x").Named("told")
	case "crash":
		fmt.Fprintln(os.Stderr, "last words: the model crashes, as it was told to")
		go panic("a fault of the model") // on a goroutine of its own nobody catches it: as fatal as one in C
		select {}
	case "kill":
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {}
	case "exit":
		os.Exit(3)
	case "hang":
		select {}
	case "leak":
		b := []byte(strings.Repeat("leak", s.Bytes/4)) // written to, so it is in RAM
		f.mu.Lock()
		f.leaked = append(f.leaked, b)
		f.mu.Unlock()
	}
	return nil
}

// leads says whether a number is the first one of the call's first input.
func leads(c *engine.Call, v float64) bool {
	if len(c.Inputs) == 0 {
		return false
	}
	switch t := &c.Inputs[0]; {
	case t.DType == serval.FP32 && len(t.Data) >= 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data))) == v
	case t.DType == serval.Int32 && len(t.Data) >= 4:
		return float64(int32(binary.LittleEndian.Uint32(t.Data))) == v
	}
	return false
}
