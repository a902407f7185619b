package compare

import (
	"math"
	"slices"
	"strconv"

	"serval"
)

// truth sets answers against what turned out to be right.
type truth struct {
	waiting *window[string, [2]value] // answered by both
	early   *window[string, string]   // outcomes that came before the answers
	known   []outcome                 // the newest, a ring
	next    int
	told    uint64
	noKey   uint64
	broken  uint64
	reason  string
}

// outcome is a message's two answers and what was right.
type outcome struct {
	values [2]value
	right  string
}

func (t *truth) init(window int) {
	t.waiting, t.early = newWindow[string, [2]value](window), newWindow[string, string](window)
}

// Outcome notes what turned out to be right of a message: a JSON object with the field value, and with the key. It says false
// where the outcome cannot be read.
func (c *Comparison) Outcome(key, body []byte, value string) bool {
	name := c.keyOf(key, body)
	right, ok := field(body, value)
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.truth
	t.told++
	t.reason = ""
	if name == "" || !ok || len(right) > maxLabel {
		t.broken++
		return false
	}
	if values, ok := t.waiting.take(name); ok {
		t.learn(outcome{values, string(right)})
	} else {
		t.early.put(name, string(right))
	}
	return true
}

// Silent notes why no outcomes come.
func (c *Comparison) Silent(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.truth.reason = reason
}

func (t *truth) answered(key string, values [2]value) {
	if right, ok := t.early.take(key); ok {
		t.learn(outcome{values, right})
	} else {
		t.waiting.put(key, values)
	}
}

func (t *truth) learn(o outcome) {
	if len(t.known) < maxKnown {
		t.known = append(t.known, o)
		return
	}
	t.known[t.next%maxKnown] = o
	t.next++
}

func (t *truth) report(threshold *float64) *serval.OutcomeAgreement {
	r := &serval.OutcomeAgreement{Told: t.told, Known: len(t.known), Waiting: len(t.waiting.all), NoKey: t.noKey, Broken: t.broken, Reason: t.reason}
	r.Champion, r.Challenger = t.quality(Champion, threshold), t.quality(Challenger, threshold)
	return r
}

// quality is how right one side was.
func (t *truth) quality(who Side, threshold *float64) (q serval.Quality) {
	labelled, right, scored, sum := 0, 0, 0, 0.0
	var ahead ranks
	binary := true
	for i := range t.known {
		o := &t.known[i]
		v := &o.values[who]
		if label, ok := v.labelled(threshold); ok {
			labelled++
			if label == o.right || truthful(o.right) == label {
				right++
			}
		}
		score, ok := v.score()
		is, isNumber := reckon(o.right)
		if !ok || !isNumber || math.IsNaN(score) {
			binary = binary && isNumber
			continue
		}
		scored++
		sum += math.Abs(score - is)
		if is != 0 && is != 1 {
			binary = false
		}
		ahead.add(score, is == 1)
	}
	if labelled > 0 {
		share := float64(right) / float64(labelled)
		q.Accuracy = &share
	}
	if scored > 0 {
		mean := sum / float64(scored)
		q.MAE = &mean
		if auc, ok := ahead.auc(); ok && binary {
			q.AUC = &auc
		}
	}
	return q
}

// truthful is an outcome of yes or no as labels of thresholds have it.
func truthful(right string) string {
	switch right {
	case "true":
		return "1"
	case "false":
		return "0"
	}
	if f, err := strconv.ParseFloat(right, 64); err == nil {
		return text(f)
	}
	return right
}

func reckon(right string) (float64, bool) {
	f, err := strconv.ParseFloat(truthful(right), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// ranks are scores of both kinds.
type ranks struct {
	list []rank
	ones int
}

type rank struct {
	score float64
	one   bool
}

func (r *ranks) add(score float64, one bool) {
	r.list = append(r.list, rank{score, one})
	if one {
		r.ones++
	}
}

// auc is the share of pairs of a one and a zero in which the one's score is larger; equal ones count half (Mann and Whitney).
func (r *ranks) auc() (float64, bool) {
	zeros := len(r.list) - r.ones
	if r.ones == 0 || zeros == 0 {
		return 0, false
	}
	slices.SortFunc(r.list, func(a, b rank) int {
		switch {
		case a.score < b.score:
			return -1
		case a.score > b.score:
			return 1
		}
		return 0
	})
	sum := 0.0 // of the ones' ranks, from 1
	for i := 0; i < len(r.list); {
		end, ones := i, 0
		for ; end < len(r.list) && r.list[end].score == r.list[i].score; end++ {
			if r.list[end].one {
				ones++
			}
		}
		sum += float64(ones) * (float64(i+1+end) / 2)
		i = end
	}
	n := float64(r.ones)
	return (sum - n*(n+1)/2) / (n * float64(zeros)), true
}
