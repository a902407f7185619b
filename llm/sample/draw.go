package sample

import "math"

// least is the lowest exponent that counts: e^-60 for each of a million tokens is still less than a draw of 53 bits resolves.
const least = -60

// scale makes weights of logits: the most likely has 1.
type scale struct {
	most    float32
	inverse float64 // of the temperature
	least   float64 // exponents below it weigh nothing
}

// exponent is a logit's place below the most likely, at most 0, and whether it counts. NaN does not.
func (s *scale) exponent(l float32) (float64, bool) {
	x := (float64(l) - float64(s.most)) * s.inverse
	return x, x >= s.least
}

// exp is e^x for x between -700 and 0, to a relative error of 3e-10.
func exp(x float64) float64 {
	t := x * math.Log2E
	k := int64(t - 0.5) // the nearest integer, since t is not positive
	f := (t - float64(k)) * math.Ln2
	p := 1 + f*(1+f*(1./2+f*(1./6+f*(1./24+f*(1./120+f*(1./720+f*(1./5040+f*(1./40320))))))))
	return p * math.Float64frombits(uint64(k+1023)<<52)
}

// block is how many logits are summed before the place of a draw is looked for inside.
const block = 256

// drawAll draws from every logit that counts, without keeping the weights: the sums of blocks first, then one block again.
func (p *Sampler) drawAll(logits []float32, s scale, u float64) int32 {
	p.blocks = p.blocks[:0]
	total := 0.0
	for at := 0; at < len(logits); at += block {
		sum := 0.0
		for _, l := range logits[at:min(at+block, len(logits))] {
			if x, ok := s.exponent(l); ok {
				sum += exp(x)
			}
		}
		p.blocks = append(p.blocks, sum)
		total += sum
	}
	rest := u * total
	last := int32(-1)
	for b, sum := range p.blocks {
		if rest >= sum && b+1 < len(p.blocks) {
			rest -= sum
			if sum > 0 {
				last = int32(b)
			}
			continue
		}
		if sum > 0 {
			last = int32(b)
		}
		if i := pickBlock(logits, int(last)*block, &s, rest); i >= 0 {
			return i
		}
	}
	return -1
}

// pickBlock finds where the running sum of a block passes rest; rounding may put it past the end: then the block's last.
func pickBlock(logits []float32, at int, s *scale, rest float64) int32 {
	found := int32(-1)
	for i := at; i < min(at+block, len(logits)); i++ {
		if x, ok := s.exponent(logits[i]); ok {
			found = int32(i)
			w := exp(x)
			if rest < w {
				return found
			}
			rest -= w
		}
	}
	return found
}

// candidate is a token that may be drawn.
type candidate struct {
	logit  float32
	id     int32
	weight float64
}

// before says that a is more likely than b; of equals, the lower id is.
func (a *candidate) before(b *candidate) bool {
	return a.logit > b.logit || a.logit == b.logit && a.id < b.id
}

// filter is what top_k and top_p leave.
type filter struct {
	k int     // 0: all
	p float64 // 1: all
	u float64 // the draw
}

// buckets part the exponents from 0 to least; tokens of one bucket differ by a factor of e^(1/perUnit) at most.
const (
	perUnit = 16
	buckets = -least*perUnit + 1
)

// drawTop draws from the tokens that top_k and top_p leave. No list of all tokens is sorted: a histogram of the exponents
// tells the bucket where the border is, and only that bucket is looked at closely.
func (p *Sampler) drawTop(logits []float32, s scale, f filter) int32 {
	if f.k > 0 {
		p.gather(logits, &s, p.countBorder(logits, &s, f.k))
		if len(p.kept) > f.k {
			p.border = append(p.border[:0], p.kept...)
			p.keepUpTo(nth(p.border, f.k))
		}
		if f.p < 1 {
			total := 0.0
			for i := range p.kept {
				total += p.kept[i].weight
			}
			p.border = append(p.border[:0], p.kept...)
			p.keepUpTo(massive(p.border, f.p*total))
		}
	} else {
		border, need := p.massBorder(logits, &s, f.p)
		p.gather(logits, &s, border)
		p.border = p.border[:0]
		for i := range p.kept {
			if bucketOf(&s, p.kept[i].logit) == border {
				p.border = append(p.border, p.kept[i])
			}
		}
		if len(p.border) > 0 {
			p.keepUpTo(massive(p.border, need))
		}
	}
	total := 0.0
	for i := range p.kept {
		total += p.kept[i].weight
	}
	rest := f.u * total
	for i := range p.kept {
		if rest < p.kept[i].weight {
			return p.kept[i].id
		}
		rest -= p.kept[i].weight
	}
	return p.kept[len(p.kept)-1].id
}

func bucketOf(s *scale, l float32) int {
	x, _ := s.exponent(l)
	return int(-x * perUnit)
}

// countBorder is the bucket in which the k-th most likely token is; the last one if fewer than k count.
func (p *Sampler) countBorder(logits []float32, s *scale, k int) int {
	if p.counts == nil {
		p.counts = make([]int32, buckets)
	}
	clear(p.counts)
	for _, l := range logits {
		if x, ok := s.exponent(l); ok {
			p.counts[int(-x*perUnit)]++
		}
	}
	for b, n := range p.counts {
		if k -= int(n); k <= 0 {
			return b
		}
	}
	return buckets - 1
}

// massBorder is the bucket in which the most likely tokens reach the share of the whole, and what the buckets before it leave
// to be reached.
func (p *Sampler) massBorder(logits []float32, s *scale, share float64) (bucket int, need float64) {
	if p.masses == nil {
		p.masses = make([]float64, buckets)
	}
	clear(p.masses)
	total := 0.0
	for _, l := range logits {
		if x, ok := s.exponent(l); ok {
			w := exp(x)
			p.masses[int(-x*perUnit)] += w
			total += w
		}
	}
	need = share * total
	last, left := 0, need
	for b, m := range p.masses {
		if m == 0 {
			continue
		}
		if need <= m {
			return b, need
		}
		last, left = b, need
		need -= m
	}
	return last, left // rounding: all of them
}

// gather keeps the tokens down to a bucket, in the order of their ids.
func (p *Sampler) gather(logits []float32, s *scale, border int) {
	p.kept = p.kept[:0]
	lowest := float64(s.most) - float64(border+2)/perUnit/s.inverse // surely out, told without a division
	for i, l := range logits {
		if !(float64(l) >= lowest) {
			continue
		}
		if x, ok := s.exponent(l); ok && int(-x*perUnit) <= border {
			p.kept = append(p.kept, candidate{l, int32(i), exp(x)})
		}
	}
}

// keepUpTo drops what is less likely than the border.
func (p *Sampler) keepUpTo(border candidate) {
	n := 0
	for i := range p.kept {
		if !border.before(&p.kept[i]) {
			p.kept[n] = p.kept[i]
			n++
		}
	}
	p.kept = p.kept[:n]
}
