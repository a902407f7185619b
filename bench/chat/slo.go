package chat

import (
	"strings"
	"time"

	"serval"
)

// SLO are limits that a good request keeps, all of them; 0 sets none. In an open loop TTFT and E2E count from the due time.
type SLO struct {
	TTFT time.Duration // time to the first token
	ITL  time.Duration // time per output token after the first, on average over the answer
	Gap  time.Duration // longest pause between two deltas
	E2E  time.Duration // the whole answer
}

// limits are an SLO's names and fields.
func (s *SLO) limits() []struct {
	name string
	at   *time.Duration
} {
	return []struct {
		name string
		at   *time.Duration
	}{{"ttft", &s.TTFT}, {"itl", &s.ITL}, {"gap", &s.Gap}, {"e2e", &s.E2E}}
}

// ParseSLO reads "ttft=500ms,itl=50ms"; the names are ttft, itl (or tpot), gap and e2e.
func ParseSLO(text string) (SLO, error) {
	var s SLO
	if text == "" {
		return s, nil
	}
parts:
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if name == "tpot" {
			name = "itl"
		}
		for _, l := range s.limits() {
			if l.name != name {
				continue
			}
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 {
				return s, serval.Errorf(serval.InvalidArgument, "slo: %s=%q is not a time; write ttft=500ms", name, value).At("slo")
			}
			*l.at = d
			continue parts
		}
		return s, serval.Errorf(serval.InvalidArgument, "slo: %q is not one of ttft, itl, gap and e2e; write ttft=500ms,itl=50ms", name).At("slo")
	}
	return s, nil
}

// String is what ParseSLO reads.
func (s SLO) String() string {
	var parts []string
	for _, l := range s.limits() {
		if *l.at > 0 {
			parts = append(parts, l.name+"="+l.at.String())
		}
	}
	return strings.Join(parts, ",")
}

// met says whether a successful call kept every limit.
func (s *SLO) met(c *Call) bool {
	within := func(d, limit time.Duration) bool { return limit == 0 || d <= limit }
	longest := time.Duration(0)
	for _, g := range c.Gaps {
		longest = max(longest, g)
	}
	if s.TTFT > 0 && c.First.IsZero() && c.Texts == 0 {
		return false // there was no token
	}
	return within(c.TTFT(), s.TTFT) && within(c.TPOT(), s.ITL) && within(longest, s.Gap) && within(c.E2E(), s.E2E)
}
