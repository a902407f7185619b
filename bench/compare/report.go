package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"serval/bench/load"
)

// report is everything that the table shows.
type report struct {
	machine string
	command string
	options options
	servers []*server // Serval first, where it was measured
	cells   []*cell
	starts  starts
	allocs  allocations
}

// markdown writes the report: what Serval is to each other server, then each server's own medians.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. Command: `%s`. One run, %d interleaved rounds of %v for each workload; %s.\n\n",
		r.machine, r.command, r.options.rounds, r.options.time, r.options.work.title)
	head := []string{"workload"}
	others := r.servers
	serval := r.servers[0]
	if r.options.serval != "" {
		others = r.servers[1:]
		for _, s := range others {
			if s.key == "floor" {
				head = append(head, "share of the floor")
				continue
			}
			head = append(head, "× "+s.Name, "p99 ÷ its p99")
		}
	}
	for _, s := range r.servers {
		head = append(head, s.Name+": requests/s, p50 / p99 ms")
	}
	row := func(columns []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(columns, " | ")) }
	row(head)
	row(slices.Repeat([]string{"---"}, len(head)))
	for _, c := range r.cells {
		columns := []string{c.String()}
		if r.options.serval != "" {
			columns = append(columns, c.ratios(serval, others)...)
		}
		for _, s := range r.servers {
			columns = append(columns, fmt.Sprintf("%.0f, %.2f / %.2f", median(c.throughput(s)), median(c.latency(s, p50)), median(c.latency(s, p99))))
		}
		row(columns)
	}
	for _, extra := range r.startRows(serval, others) {
		row(extra)
	}
	b.WriteString("\nA ratio is the median over the rounds of the ratio within a round (its least and greatest in brackets); the other figures are medians. The load generator, `bench/load`, shares the machine.\n")
	return b.String()
}

// startRows are the rows about starting, memory and allocations; they fill the same columns.
func (r *report) startRows(serval *server, others []*server) [][]string {
	line := func(name string, value func(*server) float64, show func(*server) string) []string {
		columns := []string{name}
		if r.options.serval != "" {
			for _, s := range others {
				columns = append(columns, "")
				if s.key != "floor" {
					columns[len(columns)-1] = fmt.Sprintf("%.3f of its", value(serval)/value(s))
					columns = append(columns, "")
				}
			}
		}
		for _, s := range r.servers {
			columns = append(columns, show(s))
		}
		return columns
	}
	ready := func(s *server) float64 { return milliseconds(r.starts.byServer[s].ready) }
	resident := func(s *server) float64 { return megabytes(r.starts.byServer[s].resident) }
	rows := [][]string{
		line("ready after start, one model", ready, func(s *server) string { return fmt.Sprintf("%.0f ms", ready(s)) }),
		line("idle memory (RSS), one model", resident, func(s *server) string { return fmt.Sprintf("%.1f MB", resident(s)) }),
	}
	if r.options.serval == "" {
		return rows
	}
	blank := len(rows[0]) - len(r.servers)
	only := func(name, value string) []string {
		columns := make([]string, len(rows[0]))
		columns[0], columns[blank] = name, value
		return columns
	}
	return append(rows,
		only("idle memory (RSS), no model", fmt.Sprintf("%.1f MB", megabytes(r.starts.empty))),
		only("allocations a request, REST JSON c=16", fmt.Sprintf("%.1f", r.allocs[load.JSON])),
		only("allocations a request, gRPC c=16", fmt.Sprintf("%.1f", r.allocs[load.Proto])))
}

// ratios are Serval's figures over those of each other server, round by round.
func (c *cell) ratios(serval *server, others []*server) []string {
	var columns []string
	mine, mine99 := c.throughput(serval), c.latency(serval, p99)
	for _, s := range others {
		throughput := divide(mine, c.throughput(s))
		if s.key == "floor" {
			columns = append(columns, fmt.Sprintf("%.0f %%", 100*median(throughput)))
			continue
		}
		columns = append(columns,
			fmt.Sprintf("**%.2f** (%.2f to %.2f)", median(throughput), slices.Min(throughput), slices.Max(throughput)),
			fmt.Sprintf("%.2f", median(divide(mine99, c.latency(s, p99)))))
	}
	return columns
}

func (c *cell) throughput(s *server) []float64 {
	var values []float64
	for i := range c.results[s] {
		values = append(values, c.results[s][i].Throughput())
	}
	return values
}

func p50(l load.Latency) time.Duration { return l.P50 }
func p99(l load.Latency) time.Duration { return l.P99 }

// latency is one figure of each round, in milliseconds.
func (c *cell) latency(s *server, of func(load.Latency) time.Duration) []float64 {
	var values []float64
	for i := range c.results[s] {
		values = append(values, milliseconds(of(c.results[s][i].Latency)))
	}
	return values
}

func divide(a, b []float64) []float64 {
	quotients := make([]float64, len(a))
	for i := range a {
		quotients[i] = a[i] / b[i]
	}
	return quotients
}

// describeMachine names the processor, the cores, the date, the commit and how busy the machine is.
func describeMachine() string {
	model := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer func() { _ = f.Close() }() // it was only read
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	text := fmt.Sprintf("%s, %d cores, %s, %s", model, runtime.NumCPU(), runtime.Version(), time.Now().Format("2006-01-02"))
	if commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		text += ", commit " + strings.TrimSpace(string(commit))
	}
	if average, err := os.ReadFile("/proc/loadavg"); err == nil {
		if one, _, ok := strings.Cut(string(average), " "); ok {
			text += ", load average before the run " + one
		}
	}
	return text
}
