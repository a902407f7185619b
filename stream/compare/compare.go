package compare

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"serval"
	"serval/internal/jsontensor"
	"serval/stream"
)

// Options say what is compared.
type Options struct {
	Champion, Challenger string // the streams' names
	Output               string // "": the first one
	Threshold            *float64
	Window               int    // most answers of a stream that wait for their counterpart, and so on; 0: 50,000
	Outcomes             bool   // what turned out to be right is told, by Outcome
	Key                  string // the field of messages and outcomes by which they belong together; "": the message's key
}

// Side is one of the two streams.
type Side int

// The sides.
const (
	Champion Side = iota
	Challenger
)

// The bounds of what is kept.
const (
	defaultWindow = 50_000
	maxClasses    = 32 // labels in the table, of each side
	maxExamples   = 10
	maxKnown      = 20_000 // messages over which outcomes are reckoned
	maxKey        = 256    // bytes
	other         = "…"
)

// Comparison is two streams being compared. It is safe for concurrent use.
type Comparison struct {
	opt Options
	now func() time.Time

	mu      sync.Mutex // guards what follows
	since   time.Time
	sides   [2]side
	paired  *window[stream.Position, struct{}] // newest, so that what comes again does not count again
	pairs   uint64
	odd     uint64
	output  string
	labels  labels
	numbers numbers
	newest  []serval.StreamPair
	truth   truth
}

// side is what is known of one stream.
type side struct {
	model   string
	seen    uint64
	alone   uint64
	ages    sketch
	waiting *window[stream.Position, seen]
}

// seen is an answer that waits.
type seen struct {
	value value
	good  bool // there is something to compare
	key   string
}

// New makes a comparison that begins now.
func New(o Options) *Comparison {
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	c := &Comparison{opt: o, now: time.Now, since: time.Now(), paired: newWindow[stream.Position, struct{}](o.Window)}
	for i := range c.sides {
		c.sides[i].waiting = newWindow[stream.Position, seen](o.Window)
	}
	c.truth.init(o.Window)
	return c
}

// See notes an answer of one of the streams. It keeps nothing of m and a.
func (c *Comparison) See(who Side, m *stream.Message, a *stream.Answer) {
	s := seen{}
	s.value, s.good = valueOf(a, c.opt.Output)
	if c.opt.Outcomes && who == Champion { // one of the two is enough
		s.key = c.keyOf(m.Key, m.Value)
	}
	at := stream.Position{Topic: strings.Clone(m.Position.Topic), Partition: m.Position.Partition, Offset: m.Position.Offset, ID: strings.Clone(m.Position.ID)}
	c.mu.Lock()
	defer c.mu.Unlock()
	mine, theirs := &c.sides[who], &c.sides[1-who]
	if c.paired.has(at) || mine.waiting.has(at) {
		return // it came again
	}
	mine.seen++
	if mine.model = a.Model.Name; a.Model.Version != "" {
		mine.model += ":" + a.Model.Version
	}
	if !m.Time.IsZero() {
		mine.ages.add(c.now().Sub(m.Time).Seconds())
	}
	their, ok := theirs.waiting.take(at)
	if !ok {
		if _, given := mine.waiting.put(at, s); given {
			mine.alone++
		}
		return
	}
	c.paired.put(at, struct{}{})
	if who == Champion {
		c.pair(at, s, their)
	} else {
		c.pair(at, their, s)
	}
}

// pair sets two answers to one message against each other.
func (c *Comparison) pair(at stream.Position, champion, challenger seen) {
	c.pairs++
	x, y := &champion.value, &challenger.value
	if !champion.good || !challenger.good || x.named != y.named || len(x.numbers) != len(y.numbers) {
		c.odd++
		c.example(at, x, y)
		return
	}
	c.output = x.output
	equal := true
	a, ok := x.labelled(c.opt.Threshold)
	if b, both := y.labelled(c.opt.Threshold); ok && both {
		c.labels.add(a, b)
		equal = a == b
	}
	if !x.named {
		if far := c.numbers.add(at, x.numbers, y.numbers); far && !ok {
			equal = false
		}
	}
	if !equal {
		c.example(at, x, y)
	}
	if c.opt.Outcomes {
		if champion.key == "" {
			c.truth.noKey++
		} else {
			c.truth.answered(champion.key, [2]value{*x, *y})
		}
	}
}

func (c *Comparison) example(at stream.Position, x, y *value) {
	if len(c.newest) == maxExamples {
		c.newest = slices.Delete(c.newest, 0, 1)
	}
	c.newest = append(c.newest, serval.StreamPair{Message: at.String(), Champion: x.String(), Challenger: y.String()})
}

// keyOf is by what a message or an outcome is known; "": it has no key.
func (c *Comparison) keyOf(key, body []byte) string {
	if c.opt.Key != "" {
		key, _ = field(body, c.opt.Key)
	}
	if len(key) > maxKey {
		return ""
	}
	return string(key)
}

// field is the value of a field of a JSON object, a text without its quotes.
func field(body []byte, name string) ([]byte, bool) {
	var s jsontensor.Scanner
	s.Reset(body)
	if s.Enter('{', "the message") != nil {
		return nil, false
	}
	for first := true; ; first = false {
		more, err := s.More(first, '}')
		if err != nil || !more {
			return nil, false
		}
		key, err := s.Key()
		if err != nil {
			return nil, false
		}
		found := string(key) == name
		if found && s.Peek() == '"' {
			b, err := s.String()
			return bytes.Clone(b), err == nil
		}
		start := s.Pos()
		if s.Skip() != nil {
			return nil, false
		}
		if found {
			b := bytes.TrimSpace(s.Text(start))
			return b, !bytes.Equal(b, []byte("null")) && b[0] != '{' && b[0] != '['
		}
	}
}

// Report says how the two stand.
func (c *Comparison) Report() serval.StreamComparison {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := serval.StreamComparison{Output: c.output, Since: c.since, Pairs: c.pairs, Incomplete: c.odd, Examples: append([]serval.StreamPair{}, c.newest...)}
	for i, to := range []*serval.StreamSide{&r.Champion, &r.Challenger} {
		s := &c.sides[i]
		*to = serval.StreamSide{Model: s.model, Seen: s.seen, Waiting: len(s.waiting.all), Alone: s.alone, Lag: -1, AgeP50: s.ages.quantile(0.5), AgeP99: s.ages.quantile(0.99)}
	}
	r.Champion.Stream, r.Challenger.Stream = c.opt.Champion, c.opt.Challenger
	r.Labels, r.Numbers = c.labels.report(), c.numbers.report()
	if c.opt.Outcomes {
		r.Outcomes = c.truth.report(c.opt.Threshold)
	}
	return r
}

// labels counts pairs of labels.
type labels struct {
	pairs, equal uint64
	table        map[string]map[string]uint64
	columns      map[string]bool
}

func (l *labels) add(a, b string) {
	l.pairs++
	if a == b {
		l.equal++
	}
	if l.table == nil {
		l.table, l.columns = map[string]map[string]uint64{}, map[string]bool{}
	}
	if l.table[a] == nil && len(l.table) >= maxClasses {
		a = other
	}
	if !l.columns[b] && len(l.columns) >= maxClasses {
		b = other
	}
	l.columns[b] = true
	if l.table[a] == nil {
		l.table[a] = map[string]uint64{}
	}
	l.table[a][b]++
}

func (l *labels) report() *serval.LabelAgreement {
	if l.pairs == 0 {
		return nil
	}
	r := &serval.LabelAgreement{Pairs: l.pairs, Equal: l.equal, Share: float64(l.equal) / float64(l.pairs), Confusion: map[string]map[string]uint64{}}
	for a, row := range l.table {
		r.Confusion[a] = map[string]uint64{}
		for b, n := range row {
			r.Confusion[a][b] = n
		}
	}
	return r
}

// numbers keeps the sums by which numbers are set against each other, by Welford's method.
type numbers struct {
	n, odd              uint64
	meanX, meanY        float64
	varX, varY, coVar   float64
	sumDifference, most float64
	differences         sketch
	mostAt              stream.Position
}

// add says whether two answers differ by more than rounding.
func (a *numbers) add(at stream.Position, xs, ys []float64) (far bool) {
	for i, x := range xs {
		y := ys[i]
		if math.IsNaN(x-y) || math.IsInf(x-y, 0) {
			if x != y && !(x != x && y != y) {
				a.odd++
				far = true
			}
			continue
		}
		a.n++
		dx, dy := x-a.meanX, y-a.meanY
		a.meanX += dx / float64(a.n)
		a.meanY += dy / float64(a.n)
		a.varX += dx * (x - a.meanX)
		a.varY += dy * (y - a.meanY)
		a.coVar += dx * (y - a.meanY)
		d := math.Abs(x - y)
		a.sumDifference += d
		a.differences.add(d)
		if d > a.most {
			a.most, a.mostAt = d, at
		}
		far = far || d > 0.01*max(math.Abs(x), math.Abs(y))
	}
	return far
}

func (a *numbers) report() *serval.NumberAgreement {
	if a.n == 0 && a.odd == 0 {
		return nil
	}
	r := &serval.NumberAgreement{Numbers: a.n, NotFinite: a.odd, Champion: a.meanX, Challenger: a.meanY, P99Difference: min(a.differences.quantile(0.99), a.most), MaxDifference: a.most}
	if a.n > 0 {
		r.MeanDifference = a.sumDifference / float64(a.n)
	}
	if d := math.Sqrt(a.varX) * math.Sqrt(a.varY); d > 0 {
		r.Correlation = max(-1, min(1, a.coVar/d))
	}
	if a.most > 0 {
		r.MaxAt = a.mostAt.String()
	}
	return r
}
