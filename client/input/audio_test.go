package input

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serval"
)

// wav writes a file with one format; x holds the samples of all channels in turn.
func wav(kind, bits uint16, channels, rate int, x []float64) []byte {
	var data []byte
	for _, v := range x {
		switch {
		case kind == formatFloat && bits == 32:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
		case kind == formatFloat && bits == 64:
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
		case bits == 8:
			data = append(data, byte(math.Round(v*127)+128))
		default:
			whole := int64(math.Round(v * float64(int64(1)<<(bits-1)-1)))
			data = append(data, binary.LittleEndian.AppendUint64(nil, uint64(whole))[:bits/8]...)
		}
	}
	header := func(kind uint16, more []byte) []byte {
		f := binary.LittleEndian.AppendUint16(nil, kind)
		f = binary.LittleEndian.AppendUint16(f, uint16(channels))
		f = binary.LittleEndian.AppendUint32(f, uint32(rate))
		f = binary.LittleEndian.AppendUint32(f, uint32(rate*channels*int(bits/8)))
		f = binary.LittleEndian.AppendUint16(f, uint16(channels*int(bits/8)))
		return append(binary.LittleEndian.AppendUint16(f, bits), more...)
	}
	format := header(kind, nil)
	if bits == 24 { // as most programs write it: extensible
		format = header(formatExtensible, append([]byte{22, 0, 24, 0, 0, 0, 0, 0, byte(kind), byte(kind >> 8)}, "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...))
	}
	var b bytes.Buffer
	chunk := func(name string, content []byte) {
		b.WriteString(name)
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(content))))
		b.Write(content)
		if len(content)%2 == 1 {
			b.WriteByte(0)
		}
	}
	b.WriteString("RIFF\xff\xff\xff\xffWAVE")
	chunk("LIST", []byte("odd"))
	chunk("fmt ", format)
	chunk("data", data)
	return b.Bytes()
}

// tone is a sine of that many samples.
func tone(hertz float64, rate, samples int) []float64 {
	x := make([]float64, samples)
	for i := range x {
		x[i] = 0.5 * math.Sin(2*math.Pi*hertz*float64(i)/float64(rate))
	}
	return x
}

func audio(rate, chunk int) Model {
	return Model{
		Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, -1}}}},
		Recipe:    &serval.Recipe{Input: serval.InputRecipe{Audio: &serval.AudioInput{Input: "x", Rate: rate, Chunk: chunk}}},
	}
}

func samplesOf(t *testing.T, in *Input) []float64 {
	t.Helper()
	d := in.Tensors[0].Data
	x := make([]float64, len(d)/4)
	for i := range x {
		x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(d[4*i:])))
	}
	return x
}

func TestWAVFormats(t *testing.T) {
	x := tone(440, 16000, 1000)
	both := make([]float64, 0, 2*len(x)) // the second channel is silent
	for _, v := range x {
		both = append(both, v, 0)
	}
	for _, c := range []struct {
		kind, bits uint16
		within     float64
	}{{formatPCM, 8, 1.0 / 60}, {formatPCM, 16, 1e-4}, {formatPCM, 24, 1e-6}, {formatPCM, 32, 1e-7}, {formatFloat, 32, 1e-7}, {formatFloat, 64, 1e-7}} {
		for channels, scale := range map[int]float64{1: 1, 2: 0.5} {
			from := x
			if channels == 2 {
				from = both
			}
			in, err := Read("x.wav", wav(c.kind, c.bits, channels, 16000, from), audio(16000, 512))
			if err != nil {
				t.Fatal(err)
			}
			if !in.Sequence || in.Length != 62500*time.Microsecond || serval.ShapeString(in.Tensors[0].Shape) != "[2,512]" {
				t.Errorf("sequence %v, length %v, shape %v", in.Sequence, in.Length, in.Tensors[0].Shape)
			}
			for i, v := range samplesOf(t, in) {
				want := 0.0 // the last request is filled up with silence
				if i < len(x) {
					want = scale * x[i]
				}
				if math.Abs(v-want) > c.within {
					t.Fatalf("format %d with %d bits, %d channels: sample %d is %g, want %g", c.kind, c.bits, channels, i, v, want)
				}
			}
		}
	}
}

func TestResampling(t *testing.T) {
	for _, rate := range []int{8000, 11025, 22050, 32000, 44100, 48000, 96000, 16001} {
		in, err := Read("x.wav", wav(formatFloat, 32, 1, rate, tone(440, rate, rate)), audio(16000, 16000))
		if err != nil {
			t.Fatal(err)
		}
		got, want := samplesOf(t, in), tone(440, 16000, 16000)
		if len(got) != len(want) || in.Length != time.Second {
			t.Fatalf("%d: %d samples, %v", rate, len(got), in.Length)
		}
		worst := 0.0
		for i := 500; i < len(want)-500; i++ { // away from where the tone is cut off
			worst = max(worst, math.Abs(got[i]-want[i]))
		}
		if worst > 5e-5 {
			t.Errorf("from %d a second: off by %g", rate, worst)
		}
	}
	// What the lower rate cannot hold must not come back as another tone.
	in, err := Read("x.wav", wav(formatFloat, 32, 1, 48000, tone(12000, 48000, 48000)), audio(16000, 16000))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range samplesOf(t, in) {
		if i > 500 && i < 15500 && math.Abs(v) > 1e-4 {
			t.Fatalf("sample %d of a tone above the rate is %g", i, v)
		}
	}
}

func TestBadSounds(t *testing.T) {
	good := wav(formatPCM, 16, 1, 16000, tone(440, 16000, 100))
	at := func(i int, b ...byte) []byte {
		bad := bytes.Clone(good)
		copy(bad[i:], b)
		return bad
	}
	format := bytes.Index(good, []byte("fmt ")) + 8
	whole := audio(16000, 512)
	whole.Signature.Inputs[0].DType = serval.Int16
	narrow := audio(16000, 512)
	narrow.Signature.Inputs[0].Shape = []int64{-1, 256}
	other := audio(16000, 512)
	other.Recipe.Input.Audio.Input = "y"
	for _, c := range []struct {
		data []byte
		m    Model
		want string
	}{
		{[]byte("RIFFxxxxAVI "), audio(16000, 512), "x.wav: not a WAV file"},
		{good[:30], audio(16000, 512), "x.wav: the WAV file ends before its samples"},
		{good[:40], audio(16000, 512), "ends in its fmt chunk"},
		{at(format, 7), audio(16000, 512), "format 7 with 16 bits are not read; use PCM of 8, 16, 24 or 32 bits"},
		{at(format+2, 0), audio(16000, 512), "0 channels"},
		{at(format+4, 1, 0), audio(16000, 512), "1 samples a second; 1000 to 1048576 are read"},
		{wav(formatPCM, 16, 1, 16000, nil), audio(16000, 512), "holds no samples"},
		{wav(formatPCM, 16, 1, 1000, make([]float64, 200000)), audio(1<<20, 512), "samples at the model's rate of 1048576 a second; at most"},
		{good, whole, "x.wav, input 'x': it takes INT16"},
		{good, narrow, "the recipe makes requests of [1,512], where the model takes [-1,256]"},
		{good, other, "the model has no input 'y'"},
		{good, Model{}, "no recipe.input.audio"},
	} {
		if _, err := Read("x.wav", c.data, c.m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
	if _, err := Read("sound", good, audio(16000, 512)); err != nil { // told by content
		t.Error(err)
	}
	cut := bytes.Clone(good[:len(good)-51]) // samples missing: what is there counts
	if in, err := Read("x.wav", cut, audio(16000, 10)); err != nil || in.Tensors[0].Shape[0] != 8 {
		t.Errorf("%+v, %v", in, err)
	}
}

func FuzzWAV(f *testing.F) {
	f.Add(wav(formatPCM, 16, 2, 22050, tone(440, 22050, 50)))
	f.Add(wav(formatPCM, 24, 1, 8000, tone(440, 8000, 50)))
	f.Add(wav(formatFloat, 64, 3, 16000, tone(440, 16000, 9)))
	if data, err := os.ReadFile(filepath.Join("..", "..", "starter", "vad", "speech.wav")); err == nil {
		f.Add(data[:2000])
	}
	m := audio(16000, 512)
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := Read("x.wav", data, m)
		if err != nil {
			return
		}
		if err := in.Tensors[0].Check(); err != nil {
			t.Fatal(err)
		}
		for _, v := range samplesOf(t, in) {
			if v-v != 0 {
				t.Fatalf("a sample is %g", v)
			}
		}
	})
}
