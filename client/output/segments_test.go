package output

import (
	"fmt"
	"testing"
	"time"

	"serval"
)

// TestSegments compares with what silero-vad 6.2.3's get_speech_timestamps_from_probs returns for the same probabilities.
func TestSegments(t *testing.T) {
	repeat := func(parts ...any) (p []float64) { // probability, times, …
		for i := 0; i < len(parts); i += 2 {
			for range parts[i+1].(int) {
				p = append(p, parts[i].(float64))
			}
		}
		return p
	}
	for i, c := range []struct {
		p       []float64
		samples int // of the sound; 0: as the probabilities say
		r       serval.SegmentsOutput
		want    string // in samples
	}{
		{repeat(0.0, 10, 0.9, 20, 0.0, 10), 0, serval.SegmentsOutput{}, "4640-15840 "},
		{repeat(0.9, 20), 0, serval.SegmentsOutput{}, "0-10240 "},
		{repeat(0.9, 20), 9940, serval.SegmentsOutput{}, "0-9940 "},
		{repeat(0.1, 5, 0.9, 7, 0.1, 9), 0, serval.SegmentsOutput{}, ""},
		{repeat(0.1, 5, 0.9, 8, 0.1, 9), 0, serval.SegmentsOutput{}, "2080-7136 "},
		{repeat(0.1, 5, 0.9, 9, 0.1, 3, 0.9, 9, 0.1, 9), 0, serval.SegmentsOutput{}, "2080-13792 "},
		{repeat(0.1, 5, 0.9, 9, 0.1, 4, 0.9, 9, 0.1, 9), 0, serval.SegmentsOutput{}, "2080-14304 "},
		{repeat(0.1, 5, 0.9, 9, 0.4, 30, 0.9, 9, 0.1, 9), 0, serval.SegmentsOutput{}, "2080-27616 "},
		{repeat(0.1, 5, 0.5, 9, 0.35, 9, 0.34, 9, 0.9, 12, 0.1, 2), 0, serval.SegmentsOutput{}, "2080-7648 15904-23552 "},
		{repeat(0.1, 5, 0.9, 9, 0.1, 4, 0.9, 9, 0.1, 9), 0, serval.SegmentsOutput{Padding: 100 * time.Millisecond}, "960-15424 "},
		{repeat(0.1, 1, 0.9, 9, 0.1, 9, 0.9, 1), 0, serval.SegmentsOutput{Padding: 100 * time.Millisecond, MinSpeech: 10 * time.Millisecond}, "0-6720 8128-10240 "},
		{repeat(0.1, 3, 0.7, 9, 0.1, 9, 0.6, 30), 0, serval.SegmentsOutput{Threshold: 0.65, MinSilence: 500 * time.Millisecond}, "1056-26112 "},
		{repeat(0.1, 3, 0.7, 9, 0.59, 9, 0.7, 30, 0.1, 5), 0, serval.SegmentsOutput{Threshold: 0.65, Exit: 0.6, MinSilence: 33 * time.Millisecond}, "1056-6624 10272-26592 "},
		{repeat(0.0, 9), 0, serval.SegmentsOutput{}, ""},
	} {
		r := c.r
		r.Output, r.Rate, r.Chunk = "p", 16000, 512
		got, err := Answer([]serval.Tensor{floats("p", []int64{int64(len(c.p)), 1}, c.p...)}, &serval.Recipe{Output: serval.OutputRecipe{Segments: &r}},
			time.Duration(float64(c.samples)/16000*float64(time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, row := range got.Rows {
			text += fmt.Sprintf("%.0f-%.0f ", row[0].(float64)*16000, row[1].(float64)*16000)
		}
		if text != c.want {
			t.Errorf("case %d: %q, want %q", i, text, c.want)
		}
	}
	if _, err := Answer([]serval.Tensor{floats("q", []int64{1}, 0.5)}, &serval.Recipe{Output: serval.OutputRecipe{Segments: &serval.SegmentsOutput{Output: "p", Rate: 16000, Chunk: 512}}}, 0); serval.AsError(err).Param != "p" {
		t.Error(err)
	}
}
