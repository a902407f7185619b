package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// roof is what the linear layers of SmolLM2-135M alone allow on this machine, as a C program measures it: tokens a second by how many are
// computed at once.
type roof struct {
	tokens []int // at once, ascending
	rate   []float64
}

// measureRoof compiles the program and runs it. dir is for what it makes.
func measureRoof(ctx context.Context, source, dir string) (*roof, error) {
	program := filepath.Join(dir, "roof")
	if out, err := exec.CommandContext(ctx, "cc", "-O3", "-march=native", "-pthread", source, "-o", program, "-lm").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("-roof: %w\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, program).Output()
	if err != nil {
		return nil, fmt.Errorf("-roof: %s: %w", source, err)
	}
	r := &roof{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var n int
		var pass, rate float64
		if _, err := fmt.Sscanf(lines.Text(), "%d tokens: %f ms a pass, %f tok/s", &n, &pass, &rate); err == nil && rate > 0 {
			r.tokens, r.rate = append(r.tokens, n), append(r.rate, rate)
		}
	}
	if len(r.tokens) == 0 {
		return nil, fmt.Errorf("-roof: %s printed no line like \"16 tokens: 4.0 ms a pass, 4000 tok/s\"", source)
	}
	return r, nil
}

// at is the rate for so many tokens at once, or for the next larger number that was measured.
func (r *roof) at(n int) float64 {
	for i, tokens := range r.tokens {
		if tokens >= n {
			return r.rate[i]
		}
	}
	return r.rate[len(r.rate)-1]
}

// share is what of a measurement's time the linear layers would take by themselves: those of the answers' tokens, as many at once as
// there are callers, and those of the prompts' that were not in the cache, as many at once as is best.
func (r *roof) share(f *figures) float64 {
	prompt := float64(f.PromptTokens - f.CachedTokens)
	seconds := float64(f.OutputTokens)/r.at(f.Concurrency) + prompt/r.rate[len(r.rate)-1]
	return seconds / f.Elapsed.Seconds()
}

func (r *roof) String() string {
	var list []string
	for i, n := range r.tokens {
		list = append(list, fmt.Sprintf("%.0f (%d at once)", r.rate[i], n))
	}
	return strings.Join(list, ", ")
}
