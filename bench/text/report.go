package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"serval/bench/chat"
	"serval/bench/load"
)

// report writes the measurements as a Markdown table: each contender's medians, and what the first is to each of the others; and each one's
// share of the roof, if that was measured.
func report(o *options, machine string, top *roof, cells []*cell) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. `%s`, %d interleaved rounds, during which other programs took at most %.1f %% of the processors. %s\n\n",
		o.work.title, command(), len(cells[0].rounds), 100*cells[0].foreign, machine)
	if top != nil {
		fmt.Fprintf(&b, "The linear layers alone (`%s`, 4-bit weights, in the same run) make %v tokens a second.\n\n", filepath.Base(o.source), top)
	}
	prefix, behind, reads := o.work.load.Workload.Shared > 0, o.work.behind != nil, o.work.load.Workload.Tokens == chat.Fixed(1)
	head := []string{"", "tokens/s", "first token p50 / p99 ms", "gap p50 / p99 / max ms", "failed", "memory MB"}
	if prefix {
		head = append(head, "of the common tokens cached")
	}
	if behind {
		head = append(head, "first token of the long prompt ms")
	}
	if top != nil {
		head = append(head, "of the roof")
	}
	rate := tokens
	if reads { // an answer of one token has no gaps
		head[1], rate = "prompt tokens/s", promptTokens
	}
	row := func(columns []string) {
		if reads {
			columns = slices.Delete(columns, 3, 4)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(columns, " | "))
	}
	row(slices.Clone(head))
	row(slices.Repeat([]string{"---"}, len(head)))
	for _, c := range cells {
		columns := []string{c.title, fmt.Sprintf("%.1f", c.median(rate)),
			fmt.Sprintf("%.0f / %.0f", c.median(first(p50)), c.median(first(p99))),
			fmt.Sprintf("%.1f / %.1f / %.0f", c.median(gap(p50)), c.median(gap(p99)), c.median(gap(longest))), c.failed(), fmt.Sprintf("%.0f", float64(c.memory)/1e6)}
		if prefix {
			columns = append(columns, fmt.Sprintf("%.1f %%", 100*c.median(func(f *figures) float64 { return f.cached })))
		}
		if behind {
			columns = append(columns, fmt.Sprintf("%.0f", c.median(late)))
		}
		if top != nil {
			columns = append(columns, fmt.Sprintf("%.0f %%", 100*c.median(top.share)))
		}
		row(columns)
	}
	for _, c := range cells[1:] {
		ratio := func(of func(*figures) float64) string { return fmt.Sprintf("%.2f", cells[0].over(c, of)) }
		columns := []string{"**" + cells[0].name + " ÷ " + c.name + "**", "**" + ratio(rate) + "**", ratio(first(p50)) + " / " + ratio(first(p99)),
			ratio(gap(p50)) + " / " + ratio(gap(p99)) + " / " + ratio(gap(longest)), "",
			fmt.Sprintf("%.2f", float64(cells[0].memory)/float64(max(c.memory, 1)))}
		if prefix {
			columns = append(columns, "")
		}
		if behind {
			columns = append(columns, ratio(late))
		}
		if top != nil {
			columns = append(columns, "")
		}
		row(columns)
	}
	return b.String()
}

func p50(l load.Latency) time.Duration     { return l.P50 }
func p99(l load.Latency) time.Duration     { return l.P99 }
func longest(l load.Latency) time.Duration { return l.Max }

func tokens(f *figures) float64 { return f.OutputRate() }

// promptTokens is how many tokens of prompts were read a second, of one caller: until the first token came.
func promptTokens(f *figures) float64 {
	return float64(f.PromptTokens) / float64(f.Requests-f.Failures) / f.TTFT.Mean.Seconds()
}

func late(f *figures) float64 { return milliseconds(f.prompt) }

func first(of func(load.Latency) time.Duration) func(*figures) float64 {
	return func(f *figures) float64 { return milliseconds(of(f.TTFT)) }
}

func gap(of func(load.Latency) time.Duration) func(*figures) float64 {
	return func(f *figures) float64 { return milliseconds(of(f.ITL)) }
}

// median of a figure over the rounds.
func (c *cell) median(of func(*figures) float64) float64 {
	var values []float64
	for i := range c.rounds {
		values = append(values, of(&c.rounds[i]))
	}
	return median(values)
}

// over is the median over the rounds of a figure of c by that of other.
func (c *cell) over(other *cell, of func(*figures) float64) float64 {
	var values []float64
	for i := range c.rounds {
		values = append(values, of(&c.rounds[i])/of(&other.rounds[i]))
	}
	return median(values)
}

// failed is how many requests of how many failed in all rounds, and what was not as it should be besides.
func (c *cell) failed() string {
	var failed, all, short uint64
	for _, f := range c.rounds {
		failed, all, short = failed+f.Failures, all+f.Requests, short+f.Short
	}
	text := fmt.Sprintf("%d of %d", failed, all)
	if short > 0 {
		text += fmt.Sprintf("; %d too short", short)
	}
	return text
}

// describeMachine names the processor, the date, the versions, and how busy the machine was.
func describeMachine(o *options) string {
	name := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer func() { _ = f.Close() }() // it was only read
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	text := fmt.Sprintf("%s, %d cores, %s, commit %s, %s", name, runtime.NumCPU(), time.Now().Format("2006-01-02 15:04"), commit(), peerVersion(o))
	if average, err := os.ReadFile("/proc/loadavg"); err == nil {
		if one, _, ok := strings.Cut(string(average), " "); ok {
			text += ", load average before the run " + one
		}
	}
	return text + "."
}

// peerVersion is what llama-server says of itself.
func peerVersion(o *options) string {
	out, err := exec.Command(filepath.Join(o.build, "bin", "llama-server"), "--version").CombinedOutput()
	if err != nil {
		return "llama-server of an unknown version"
	}
	for _, line := range strings.Split(string(out), "\n") {
		if rest, ok := strings.CutPrefix(line, "version: "); ok {
			return "llama-server " + strings.TrimSpace(rest)
		}
	}
	return "llama-server"
}
