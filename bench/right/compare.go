package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"

	"serval"
)

// compare computes what is not kept yet, and compares the first way with the others, or the others with each other.
func compare(ctx context.Context, o *options) (string, error) {
	of := o.of
	if of == "" {
		of = "llama,own,llama-native,llama-skylakex,llama-haswell,llama-sandybridge,llama-single,llama-halves,llama-noflash,llama-kv8,llama-f32,own-f32"
		if o.show == "greedy" {
			of = "llama,own,llama-native,llama-haswell"
		}
	}
	list, err := chosen(of)
	if err != nil {
		return "", err
	}
	_, name, err := makeInputs(o)
	if err != nil {
		return "", err
	}
	var all []*answered
	for i := range list {
		w := &list[i]
		path := o.kept(name, w)
		if _, err := os.Stat(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s …\n", w.name)
			args := append(slices.Clone(os.Args[1:]), "-compute", w.name)
			child := exec.CommandContext(ctx, "/proc/self/exe", args...)
			child.Stdout, child.Stderr = os.Stderr, os.Stderr
			if err := child.Run(); err != nil {
				return "", fmt.Errorf("%s: %w", w.name, err)
			}
		}
		a, err := restore(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w; delete it", path, err)
		}
		all = append(all, a)
	}
	if o.show == "greedy" {
		return greedyTable(o, list, all), nil
	}
	return logitsTable(o, list, all), nil
}

// distance is how far two ways are from each other over the positions of the texts.
type distance struct {
	positions  int
	most, mean float64 // difference of the log-probabilities of the texts' tokens
	same       float64 // share of the positions whose most likely tokens are the same
	gap, worst float64 // where they are not: what the reference's most likely token is ahead of the other's, in the mean and at most
}

func between(reference, other *answered) distance {
	var d distance
	differ := 0.0
	for i := range reference.Lists {
		for j, theirs := range reference.Lists[i] {
			if j == 0 {
				continue // the first token has none
			}
			mine := other.Lists[i][j]
			d.positions++
			diff := math.Abs(float64(theirs.Logprob) - float64(mine.Logprob))
			d.most, d.mean = max(d.most, diff), d.mean+diff
			if theirs.Top[0].ID == mine.Top[0].ID {
				d.same++
				continue
			}
			differ++
			ahead := float64(theirs.Top[0].Logprob) - below(theirs, mine.Top[0].ID)
			d.gap, d.worst = d.gap+ahead, max(d.worst, ahead)
		}
	}
	n := float64(d.positions)
	d.mean, d.same = d.mean/n, d.same/n
	if differ > 0 {
		d.gap /= differ
	}
	return d
}

// below is the log-probability of a token among the most likely ones, or the least of those if it is not there.
func below(t serval.Token, id int32) float64 {
	for _, o := range t.Top {
		if o.ID == id {
			return float64(o.Logprob)
		}
	}
	return float64(t.Top[len(t.Top)-1].Logprob)
}

func (a *answered) perplexity() float64 {
	sum, n := 0.0, 0
	for _, list := range a.Lists {
		for _, t := range list[1:] {
			sum, n = sum-float64(t.Logprob), n+1
		}
	}
	return math.Exp(sum / float64(n))
}

func logitsTable(o *options, list []way, all []*answered) string {
	var b strings.Builder
	base := all[0].perplexity()
	d := between(all[0], all[0])
	fmt.Fprintf(&b, "%d positions: %d pieces of %d tokens of %s.\n\n", d.positions, o.windows, o.window, strings.ReplaceAll(o.texts, ",", ", "))
	fmt.Fprintf(&b, "| | perplexity | | top-1 as %s | log-prob. differs, mean / most | where top-1 differs: %s is ahead by, mean / most |\n| --- | --- | --- | --- | --- | --- |\n", list[0].name, list[0].name)
	for i, a := range all {
		d := between(all[0], a)
		title := list[i].title
		if a.Code != "" && list[i].variant == "" && i == 0 {
			title += " (" + a.Code + ")"
		}
		fmt.Fprintf(&b, "| %s | %.4f | %+.2f %% | %.2f %% | %.4f / %.3f | %.3f / %.3f |\n", title, a.perplexity(), 100*(a.perplexity()/base-1), 100*d.same, d.mean, d.most, d.gap, d.worst)
	}
	b.WriteString("\nEach with each: share of the positions with the same most likely token (below the diagonal) and mean difference of the log-probabilities (above).\n\n|")
	for _, w := range list {
		fmt.Fprintf(&b, " | %s", w.name)
	}
	b.WriteString(" |\n| ---" + strings.Repeat(" | ---", len(list)) + " |\n")
	for i := range list {
		fmt.Fprintf(&b, "| %s", list[i].name)
		for j := range list {
			switch d := between(all[i], all[j]); {
			case i == j:
				b.WriteString(" | ")
			case j < i:
				fmt.Fprintf(&b, " | %.2f %%", 100*d.same)
			default:
				fmt.Fprintf(&b, " | %.4f", d.mean)
			}
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

func greedyTable(o *options, list []way, all []*answered) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d prompts, answers of at most %d tokens, greedy. Where a text first differs from that of %s, how far %s had its token ahead of the other (natural logarithms of probabilities).\n\n",
		o.prompts, o.tokens, list[0].title, list[0].name)
	fmt.Fprintf(&b, "| | equal | tokens until they differ, median | ahead by: median | 90 %% | most | over 0.5 |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for i := 1; i < len(list); i++ {
		equal, wide := 0, 0
		var gaps []float64
		var length []int
		for p, theirs := range all[0].Lists {
			mine := all[i].Lists[p]
			at := 0
			for at < len(theirs) && at < len(mine) && theirs[at].ID == mine[at].ID {
				at++
			}
			if at == len(theirs) && at == len(mine) {
				equal++
				continue
			}
			length = append(length, at)
			if at == len(theirs) || at == len(mine) { // one ended; its last token was the end, so this cannot be
				gaps = append(gaps, math.Inf(1))
				continue
			}
			gaps = append(gaps, float64(theirs[at].Logprob)-below(theirs[at], mine[at].ID))
			if gaps[len(gaps)-1] > 0.5 {
				wide++
			}
		}
		slices.Sort(gaps)
		slices.Sort(length)
		if len(gaps) == 0 {
			fmt.Fprintf(&b, "| %s | %d | | | | | |\n", list[i].title, equal)
			continue
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %.3f | %.3f | %.3f | %d |\n", list[i].title, equal, length[len(length)/2], gaps[len(gaps)/2], gaps[len(gaps)*9/10], gaps[len(gaps)-1], wide)
	}
	return b.String()
}
