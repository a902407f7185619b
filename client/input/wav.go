package input

import (
	"encoding/binary"
	"fmt"
	"math"
)

// sound is what a WAV file holds.
type sound struct {
	rate    int // samples a second
	samples int // of each channel
	at      func(i int) float32
}

// maxWAVRate and minWAVRate bound the rates that are read, and so how much longer resampling makes a sound.
const (
	minWAVRate = 1000
	maxWAVRate = 1 << 20
)

// readWAV reads PCM of 8, 16, 24 and 32 bits and floats of 32 and 64 bits. The channels become one, their mean, from -1 to 1.
// What it returns shares data's memory. Format: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0"
// and "Multiple channel audio data and WAVE files" for the extensible header.
func readWAV(data []byte) (*sound, error) {
	if len(data) < 12 || string(data[:4]) != "RIFF" || string(data[8:12]) != "WAVE" {
		return nil, fmt.Errorf("not a WAV file: it does not begin with RIFF and WAVE")
	}
	var format []byte
	for rest := data[12:]; ; {
		if len(rest) < 8 {
			return nil, fmt.Errorf("the WAV file ends before its samples (no data chunk)")
		}
		name, size := string(rest[:4]), uint64(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		switch name {
		case "fmt ":
			if size > uint64(len(rest)) {
				return nil, fmt.Errorf("the WAV file ends in its fmt chunk")
			}
			format = rest[:size]
		case "data":
			if format == nil {
				return nil, fmt.Errorf("the WAV file has no fmt chunk before its samples")
			}
			// A program that wrote into a pipe did not know the size.
			return decodeWAV(format, rest[:min(size, uint64(len(rest)))])
		}
		size += size & 1
		if size > uint64(len(rest)) {
			return nil, fmt.Errorf("the WAV file ends in its chunk %q, before its samples", name)
		}
		rest = rest[size:]
	}
}

// The formats of samples.
const (
	formatPCM        = 1
	formatFloat      = 3
	formatExtensible = 0xFFFE
)

func decodeWAV(format, data []byte) (*sound, error) {
	if len(format) < 16 {
		return nil, fmt.Errorf("the WAV file's fmt chunk has %d bytes, it needs 16", len(format))
	}
	kind := binary.LittleEndian.Uint16(format)
	channels := int(binary.LittleEndian.Uint16(format[2:]))
	rate := binary.LittleEndian.Uint32(format[4:])
	bits := binary.LittleEndian.Uint16(format[14:])
	if kind == formatExtensible && len(format) >= 26 {
		kind = binary.LittleEndian.Uint16(format[24:]) // the first bytes of the sub-format's GUID
	}
	one := sample(kind, bits)
	switch {
	case one == nil:
		return nil, fmt.Errorf("WAV samples of format %d with %d bits are not read; use PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64", kind, bits)
	case channels < 1 || channels > 64:
		return nil, fmt.Errorf("the WAV file has %d channels; 1 to 64 are read", channels)
	case rate < minWAVRate || rate > maxWAVRate:
		return nil, fmt.Errorf("the WAV file has %d samples a second; %d to %d are read", rate, minWAVRate, maxWAVRate)
	}
	size := int(bits / 8)
	return &sound{rate: int(rate), samples: len(data) / (size * channels), at: func(i int) float32 {
		sum := float32(0)
		for c := range channels {
			sum += one(data[(i*channels+c)*size:])
		}
		return sum / float32(channels)
	}}, nil
}

// sample is how the first sample of some bytes is read; nil for a format that is not known.
func sample(kind, bits uint16) func([]byte) float32 {
	switch {
	case kind == formatPCM && bits == 8:
		return func(b []byte) float32 { return (float32(b[0]) - 128) / 128 }
	case kind == formatPCM && bits == 16:
		return func(b []byte) float32 { return float32(int16(binary.LittleEndian.Uint16(b))) / (1 << 15) }
	case kind == formatPCM && bits == 24:
		return func(b []byte) float32 {
			return float32(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)>>8) / (1 << 23)
		}
	case kind == formatPCM && bits == 32:
		return func(b []byte) float32 { return float32(float64(int32(binary.LittleEndian.Uint32(b))) / (1 << 31)) }
	case kind == formatFloat && bits == 32:
		return func(b []byte) float32 { return finite(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
	case kind == formatFloat && bits == 64:
		return func(b []byte) float32 { return finite(float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))) }
	}
	return nil
}

// finite makes silence of what is no sound: NaN, infinities and numbers that sums would make such of.
func finite(f float32) float32 {
	const most = 1 << 20 // full scale is 1
	if f > -most && f < most {
		return f
	}
	return 0
}
