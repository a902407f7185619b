package output

import (
	"math"
	"time"

	"serval"
	"serval/client/element"
)

// Defaults of recipe.output.segments.
const (
	defaultThreshold  = 0.5
	defaultHysteresis = 0.15 // by which the probability must fall below the threshold to end a segment
	defaultMinSpeech  = 250 * time.Millisecond
	defaultMinSilence = 100 * time.Millisecond
	defaultPadding    = 30 * time.Millisecond
)

// segment is a stretch of sound in samples.
type segment struct{ start, end float64 }

// segments lists the stretches in which the probability is high, in seconds. The rules are those of silero-vad 6.2.3
// (get_speech_timestamps_from_probs, without a longest duration), so that the answers are the same.
func segments(outputs []serval.Tensor, r *serval.SegmentsOutput, length time.Duration) (*Table, error) {
	o, err := find(outputs, r.Output)
	if err != nil {
		return nil, err
	}
	probabilities, err := element.Floats(o)
	if err != nil {
		return nil, wrong(o, err)
	}
	total := float64(len(probabilities) * r.Chunk)
	if length > 0 {
		total = min(total, math.Round(length.Seconds()*float64(r.Rate)))
	}
	list := stretches(probabilities, r, total)
	pad(list, samples(r, r.Padding, defaultPadding), total)
	t := &Table{Columns: []string{"start", "end"}}
	for _, s := range list {
		t.Rows = append(t.Rows, []any{s.start / float64(r.Rate), s.end / float64(r.Rate)})
	}
	return t, nil
}

// samples is a duration in samples, which may be a fraction.
func samples(r *serval.SegmentsOutput, d, otherwise time.Duration) float64 {
	if d == 0 {
		d = otherwise
	}
	return d.Seconds() * float64(r.Rate)
}

// stretches finds the segments without their padding.
func stretches(probabilities []float64, r *serval.SegmentsOutput, total float64) []segment {
	threshold, exit := r.Threshold, r.Exit
	if threshold == 0 {
		threshold = defaultThreshold
	}
	if exit == 0 {
		exit = max(threshold-defaultHysteresis, 0.01)
	}
	minSpeech, minSilence := samples(r, r.MinSpeech, defaultMinSpeech), samples(r, r.MinSilence, defaultMinSilence)
	var list []segment
	start, quiet := -1.0, -1.0 // of the segment, and of the silence that may end it; -1: none
	for i, p := range probabilities {
		now := float64(i * r.Chunk)
		switch {
		case p >= threshold:
			quiet = -1
			if start < 0 {
				start = now
			}
		case p < exit && start >= 0:
			if quiet < 0 {
				quiet = now
			}
			if now-quiet >= minSilence {
				if quiet-start > minSpeech {
					list = append(list, segment{start, quiet})
				}
				start, quiet = -1, -1
			}
		}
	}
	if start >= 0 && total-start > minSpeech {
		list = append(list, segment{start, total})
	}
	return list
}

// pad widens segments by padding on both sides, or by half of the gap where two would meet.
func pad(list []segment, padding, total float64) {
	for i := range list {
		s := &list[i]
		if i == 0 {
			s.start = math.Trunc(max(0, s.start-padding))
		}
		if i == len(list)-1 {
			s.end = math.Trunc(min(total, s.end+padding))
			break
		}
		next := &list[i+1]
		if gap := next.start - s.end; gap < 2*padding {
			half := math.Floor(gap / 2)
			s.end += half
			next.start = max(0, next.start-half)
		} else {
			s.end = math.Trunc(min(total, s.end+padding))
			next.start = math.Trunc(max(0, next.start-padding))
		}
	}
}
