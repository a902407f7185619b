package gateway

import (
	"math"
	"sync"
	"time"

	"serval"
)

// policy is an Options made ready for lookups. It never changes; only the buckets in it do.
type policy struct {
	keys           map[[8]byte]*key     // by the start of the digest
	buckets        map[string][]*bucket // by the keys' names; nil: no limit
	requestTimeout time.Duration
	answerTimeout  time.Duration
	maxInFlight    int64
	denyControl    bool
}

// key is a Key with what is left of its rate.
type key struct {
	Key
	sibling *key // another key whose digest starts alike
	bucket  *bucket
}

// newPolicy makes a policy; keys of old with the same digest and limit keep their bucket.
func newPolicy(o Options, old *policy) *policy {
	p := &policy{
		keys:           make(map[[8]byte]*key, len(o.Keys)),
		buckets:        make(map[string][]*bucket, len(o.Keys)),
		requestTimeout: o.RequestTimeout, answerTimeout: o.AnswerTimeout,
		maxInFlight: int64(o.MaxInFlight),
		denyControl: o.DenyControl,
	}
	for _, spec := range o.Keys {
		at := [8]byte(spec.Digest[:8])
		k := &key{Key: spec, sibling: p.keys[at]}
		if spec.Rate > 0 {
			k.bucket = old.bucketOf(spec)
		}
		p.keys[at] = k
		p.buckets[spec.Name] = append(p.buckets[spec.Name], k.bucket)
	}
	return p
}

// bucketOf is the bucket that spec had in p, which may be nil, or a full one.
func (p *policy) bucketOf(spec Key) *bucket {
	burst := float64(spec.Burst)
	if spec.Burst <= 0 {
		burst = math.Max(1, math.Ceil(spec.Rate))
	}
	if p != nil {
		for k := p.keys[[8]byte(spec.Digest[:8])]; k != nil; k = k.sibling {
			if k.Digest == spec.Digest && k.bucket != nil && k.bucket.rate == spec.Rate && k.bucket.burst == burst {
				return k.bucket
			}
		}
	}
	return &bucket{rate: spec.Rate, burst: burst, tokens: burst, spare: burst}
}

// take takes one request from the key's rate.
func (k *key) take(now time.Time) *serval.Error {
	if k.bucket == nil {
		return nil
	}
	wait := k.bucket.take(now)
	if wait == 0 {
		return nil
	}
	return serval.Errorf(serval.ResourceExhausted, "the key '%s' may make %g requests a second; try again in %s",
		k.Name, k.Rate, wait.Round(time.Millisecond)).After(wait)
}

// bucket is a token bucket: it holds at most burst tokens and gains rate of them a second.
type bucket struct {
	rate, burst float64

	mu     sync.Mutex
	tokens float64
	spare  float64 // what take and line leave together; only line waits for it
	last   time.Time
}

// take takes a token, or says how long it is until there is one.
func (b *bucket) take(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gain(now)
	if b.tokens < 1 {
		return b.until(1 - b.tokens)
	}
	b.tokens--
	b.spare = math.Max(b.spare-1, -b.burst)
	return 0
}

// line is take for a request of a batch: it has what take leaves of the rate, so that what comes online is never refused for its sake.
func (b *bucket) line(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gain(now)
	if b.spare < 1 {
		return b.until(1 - b.spare)
	}
	b.spare--
	return 0
}

// gain adds what time has brought; mu is held.
func (b *bucket) gain(now time.Time) {
	if b.last.IsZero() {
		b.last = now
	}
	if gained := now.Sub(b.last); gained > 0 { // callers come here in another order than their clocks say
		b.tokens = math.Min(b.burst, b.tokens+gained.Seconds()*b.rate)
		b.spare = math.Min(b.burst, b.spare+gained.Seconds()*b.rate)
		b.last = now
	}
}

// until is how long so many tokens take to come.
func (b *bucket) until(tokens float64) time.Duration {
	seconds := math.Min(tokens/b.rate, 24*60*60) // a Duration cannot hold what a tiny rate gives
	return max(time.Millisecond, time.Duration(seconds*float64(time.Second)))
}

// timeout is how long a request may take that does not say.
func (p *policy) timeout(in serval.Input) time.Duration {
	switch in.(type) {
	case *serval.Chat, *serval.Completion:
		return p.answerTimeout
	}
	return p.requestTimeout
}
