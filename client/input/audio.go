package input

import (
	"fmt"
	"time"

	"serval"
	"serval/client/element"
)

// maxSamples bounds a sound at the model's rate: more than two hours at 16,000 a second.
const maxSamples = 1 << 27

// readAudio makes a sequence of requests of a sound: one a row.
func readAudio(data []byte, r *serval.AudioInput, m Model) (*Input, error) {
	info, err := m.info(r.Input)
	if err != nil {
		return nil, err
	}
	s, err := readWAV(data)
	if err != nil {
		return nil, err
	}
	if s.samples == 0 {
		return nil, fmt.Errorf("the WAV file holds no samples")
	}
	total := s.samples
	if s.rate != r.Rate {
		total = int((int64(s.samples)*int64(r.Rate) + int64(s.rate) - 1) / int64(s.rate))
	}
	if total > maxSamples {
		return nil, fmt.Errorf("the sound has %d samples at the model's rate of %d a second; at most %d are read, so cut it", total, r.Rate, maxSamples)
	}
	rows := (total + r.Chunk - 1) / r.Chunk
	t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: []int64{int64(rows), int64(r.Chunk)}}
	if !matches([]int64{1, int64(r.Chunk)}, info) {
		return nil, atInput(info.Name, fmt.Errorf("the recipe makes requests of [1,%d], where the model takes %s", r.Chunk, serval.ShapeString(info.Shape)))
	}
	at := s.at
	if s.rate != r.Rate {
		old := make([]float32, s.samples)
		for i := range old {
			old[i] = s.at(i)
		}
		to := newResampler(s.rate, r.Rate)
		at = func(n int) float32 { return to.at(old, n) }
	}
	t.Data = make([]byte, 0, rows*r.Chunk*max(1, info.DType.Size()))
	for n := range rows * r.Chunk {
		v := float32(0)
		if n < total {
			v = at(n)
		}
		if t.Data, err = element.AppendFloat(t.Data, info.DType, float64(v)); err != nil {
			return nil, atInput(info.Name, fmt.Errorf("it takes %s; a sound is made of fractions", info.DType))
		}
	}
	return &Input{Tensors: []serval.Tensor{t}, Sequence: true, Length: time.Duration(float64(total) / float64(r.Rate) * float64(time.Second))}, nil
}
