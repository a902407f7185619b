package input

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"strings"
	"testing"

	"serval"
	"serval/client/element"
)

func pictures(d serval.DType, shape []int64, r serval.ImageInput) Model {
	r.Input = "x"
	return Model{Recipe: &serval.Recipe{Input: serval.InputRecipe{Image: &r}},
		Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: d, Shape: shape}}}}
}

// TestResizeLikePillow compares with what Pillow's resize(BILINEAR) made of the same noise.
func TestResizeLikePillow(t *testing.T) {
	for _, c := range []struct {
		file          string
		width, height int
	}{{"testdata/noise_5x4.npy", 5, 4}, {"testdata/noise_40x30.npy", 40, 30}, {"testdata/noise_17x13.npy", 17, 13}} {
		m := pictures(serval.FP32, []int64{-1, -1, -1, 3}, serval.ImageInput{Height: c.height, Width: c.width, Layout: "nhwc", Scale: 1})
		in, err := ReadFile("testdata/noise.png", m)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ReadFile(c.file, any3(serval.FP32))
		if err != nil {
			t.Fatal(err)
		}
		a, _ := element.Floats(&in.Tensors[0])
		b, _ := element.Floats(&want.Tensors[0])
		for i := range b {
			if math.Abs(a[i]-b[i]) > 1.01 { // Pillow rounds to whole numbers twice
				t.Fatalf("%s: value %d is %v, Pillow has %v", c.file, i, a[i], b[i])
			}
		}
	}
}

// encode draws a 4×2 picture: left half red, right half blue, both fully opaque but for a transparent last pixel.
func encode(t *testing.T) []byte {
	t.Helper()
	p := image.NewNRGBA(image.Rect(0, 0, 4, 2))
	for y := range 2 {
		for x := range 4 {
			c := color.NRGBA{R: 255, A: 255}
			if x >= 2 {
				c = color.NRGBA{B: 255, A: 255}
			}
			p.SetNRGBA(x, y, c)
		}
	}
	p.SetNRGBA(3, 1, color.NRGBA{})
	var b bytes.Buffer
	if err := png.Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImageLayouts(t *testing.T) {
	for _, c := range []struct {
		name string
		r    serval.ImageInput
		d    serval.DType
		want string
	}{
		{"nchw", serval.ImageInput{Height: 2}, serval.FP32, "x FP32 [1,3,2,4] 1 1 0 0 1 1 0 1 0 0 0 0 0 0 0 1 0 0 1 1 0 0 1 1"},
		{"bgr, mean, std", serval.ImageInput{Height: 2, Channels: "bgr", Mean: []float64{0.5}, Std: []float64{0.5}}, serval.FP32,
			"x FP32 [1,3,2,4] -1 -1 1 1 -1 -1 1 1 -1 -1 -1 -1 -1 -1 -1 1 1 1 -1 -1 1 1 -1 1"},
		{"nhwc uint8 crop", serval.ImageInput{Height: 2, Width: 2, Layout: "nhwc", Fit: "crop", Scale: 1}, serval.Uint8,
			"x UINT8 [1,2,2,3] 255 0 0 0 0 255 255 0 0 0 0 255"},
		{"gray pad", serval.ImageInput{Height: 3, Width: 4, Channels: "gray", Fit: "pad", Scale: 1}, serval.Int32,
			"x INT32 [1,1,3,4] 76 76 29 29 76 76 29 255 0 0 0 0"},
	} {
		in, err := Read("p.png", encode(t), pictures(c.d, nil, c.r))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := show(t, in); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestImageErrors(t *testing.T) {
	good := encode(t)
	huge := bytes.Clone(good)
	copy(huge[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // IHDR says 65536×65536
	r := serval.ImageInput{Height: 2}
	for _, c := range []struct {
		data []byte
		m    Model
		want string
	}{
		{good, net, "recipe.input.image"},
		{[]byte("not a picture"), pictures(serval.FP32, nil, r), "not a picture that can be read"},
		{good[:len(good)-20], pictures(serval.FP32, nil, r), "damaged"},
		{huge, pictures(serval.FP32, nil, r), "not a picture that can be read"}, // the checksum no longer fits
		{good, pictures(serval.FP32, []int64{-1, 3, 4, -1}, r), "the recipe makes [1,3,2,4], where the model takes [-1,3,4,-1]"},
		{good, pictures(serval.Uint8, nil, serval.ImageInput{Height: 2, Scale: 1, Mean: []float64{300}}), "is negative, and UINT8 is not"},
	} {
		_, err := Read("p.png", c.data, c.m)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestWindow(t *testing.T) {
	m := pictures(serval.Int32, []int64{-1, 8}, serval.ImageInput{})
	m.Recipe.Input = serval.InputRecipe{Bytes: &serval.BytesInput{Input: "x", Begin: 4, End: 4, Block: 6, Strip: true, Padding: 256, Min: 2}}
	for text, want := range map[string]string{
		"abcdefghij":   "97 98 99 100 103 104 105 106",
		" \n ab \t ":   "97 98 32 256 256 32 97 98", // each side strips its own end only
		"\v\fab":       "97 98 256 256 11 12 97 98",
		"    abc....z": "97 98 256 256 46 46 46 122", // stripping happens inside the block
		"ab":           "97 98 256 256 256 256 97 98",
	} {
		in, err := Read("f.bin", []byte(text), m)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := show(t, in); got != "x INT32 [1,8] "+want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
	if _, err := Read("empty.csv", nil, m); err == nil || !strings.Contains(err.Error(), "too short") {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzImage(f *testing.F) {
	if data, err := os.ReadFile("testdata/noise.png"); err == nil {
		f.Add(data)
	}
	f.Add([]byte("\xff\xd8\xff\xe0"))
	f.Add([]byte("GIF89a"))
	m := pictures(serval.FP32, nil, serval.ImageInput{Height: 8, MaxWidth: 64})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		if in, err := Read("f.png", data, m); err == nil {
			if err := in.Tensors[0].Check(); err != nil {
				t.Errorf("a tensor that does not hold together: %v", err)
			}
		}
	})
}
