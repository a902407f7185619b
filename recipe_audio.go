package serval

import (
	"fmt"
	"time"
)

// AudioInput turns a sound into a sequence of requests: mono, at the model's rate, from -1 to 1, cut into chunks of which the
// last is filled up with silence.
type AudioInput struct {
	Input string `yaml:"input" json:"input" doc:"name of the input, whose shape is [1, chunk]"`
	Rate  int    `yaml:"rate" json:"rate" doc:"samples a second that the model takes"`
	Chunk int    `yaml:"chunk" json:"chunk" doc:"samples of one request"`
}

// SegmentsOutput reads an output with one probability a chunk of sound as the stretches of time in which it is high, as
// silero-vad's get_speech_timestamps does.
type SegmentsOutput struct {
	Output     string        `yaml:"output" json:"output" doc:"name of the output"`
	Rate       int           `yaml:"rate" json:"rate" doc:"samples a second"`
	Chunk      int           `yaml:"chunk" json:"chunk" doc:"samples that one probability stands for"`
	Threshold  float64       `yaml:"threshold" json:"threshold,omitempty" doc:"a segment begins at this probability; 0: 0.5"`
	Exit       float64       `yaml:"exit" json:"exit,omitempty" doc:"it ends below this one; 0: threshold − 0.15"`
	MinSpeech  time.Duration `yaml:"min_speech" json:"min_speech,omitempty" doc:"shorter segments are dropped; 0: 250ms"`
	MinSilence time.Duration `yaml:"min_silence" json:"min_silence,omitempty" doc:"shorter gaps end no segment; 0: 100ms"`
	Padding    time.Duration `yaml:"padding" json:"padding,omitempty" doc:"added on both sides, up to half a gap; 0: 30ms"`
}

const (
	maxRate  = 1 << 20 // samples a second
	maxChunk = 1 << 24 // samples
)

func (a *AudioInput) check() error {
	if a.Input == "" {
		return fmt.Errorf("recipe.input.audio.input: name the input")
	}
	return checkSound("recipe.input.audio", a.Rate, a.Chunk)
}

func checkSound(path string, rate, chunk int) error {
	if rate < 1 || rate > maxRate || chunk < 1 || chunk > maxChunk {
		return fmt.Errorf("%s: rate must be 1 to %d, and chunk 1 to %d", path, maxRate, maxChunk)
	}
	return nil
}

func (s *SegmentsOutput) check() error {
	const path = "recipe.output.segments"
	switch {
	case s.Output == "":
		return fmt.Errorf("%s.output: name the output", path)
	case !(s.Threshold >= 0 && s.Threshold <= 1) || !(s.Exit >= 0 && s.Exit <= 1):
		return fmt.Errorf("%s: threshold and exit must be probabilities, from 0 to 1", path)
	case s.MinSpeech < 0 || s.MinSilence < 0 || s.Padding < 0:
		return fmt.Errorf("%s: min_speech, min_silence and padding must not be negative", path)
	}
	return checkSound(path, s.Rate, s.Chunk)
}
