package input

import (
	"bytes"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"

	"serval"
	"serval/client/element"
)

const (
	maxImage     = 100_000_000 // pixels of a picture that is read
	defaultWidth = 8192        // of a picture laid out by its aspect ratio
)

// readImage makes one row of a picture.
func readImage(data []byte, r *serval.ImageInput, m Model) (*Input, error) {
	info, err := m.info(r.Input)
	if err != nil {
		return nil, err
	}
	picture, err := decode(data)
	if err != nil {
		return nil, err
	}
	l := lay(picture.Bounds(), r)
	planes := resize(picture, l.from, l.width, l.height)
	channels := order(planes, r.Channels)
	t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: []int64{1, int64(len(channels)), int64(r.Height), int64(l.full)}}
	if r.Layout == "nhwc" {
		t.Shape = []int64{1, int64(r.Height), int64(l.full), int64(len(channels))}
	}
	if !matches(t.Shape, info) {
		return nil, atInput(info.Name, fmt.Errorf("the recipe makes %s, where the model takes %s", serval.ShapeString(t.Shape), serval.ShapeString(info.Shape)))
	}
	for c := range channels {
		normalise(channels[c], r, c)
	}
	if t.Data, err = pack(channels, l, r, info.DType); err != nil {
		return nil, atInput(info.Name, err)
	}
	return &Input{Tensors: []serval.Tensor{t}}, nil
}

// decode reads a PNG, JPEG or GIF (its first picture).
func decode(data []byte) (image.Image, error) {
	read, size := png.Decode, png.DecodeConfig
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		read, size = jpeg.Decode, jpeg.DecodeConfig
	case bytes.HasPrefix(data, []byte("GIF8")):
		read, size = gif.Decode, gif.DecodeConfig
	}
	c, err := size(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("not a picture that can be read (PNG, JPEG, GIF): %w", err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxImage/c.Height {
		return nil, fmt.Errorf("a picture of %d×%d pixels; at most %d are read", c.Width, c.Height, maxImage)
	}
	picture, err := read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("the picture is damaged: %w", err)
	}
	return picture, nil
}

// layout says which part of the picture goes where.
type layout struct {
	from          image.Rectangle // of the picture
	width, height int             // it is resized to
	full          int             // the row's width; what is right of width or below height is padding
}

func lay(b image.Rectangle, r *serval.ImageInput) layout {
	l := layout{from: b, width: r.Width, height: r.Height, full: r.Width}
	w, h := float64(b.Dx()), float64(b.Dy())
	switch {
	case r.Width == 0:
		most := r.MaxWidth
		if most == 0 {
			most = defaultWidth
		}
		l.width = max(1, min(most, int(math.Ceil(float64(r.Height)*w/h))))
		l.full = l.width
	case r.Fit == "crop":
		scale := max(float64(r.Width)/w, float64(r.Height)/h)
		cw, ch := max(1, int(math.Round(float64(r.Width)/scale))), max(1, int(math.Round(float64(r.Height)/scale)))
		at := b.Min.Add(image.Pt((b.Dx()-cw)/2, (b.Dy()-ch)/2))
		l.from = image.Rectangle{Min: at, Max: at.Add(image.Pt(cw, ch))}.Intersect(b)
	case r.Fit == "pad":
		scale := min(float64(r.Width)/w, float64(r.Height)/h)
		l.width = max(1, min(r.Width, int(math.Round(w*scale))))
		l.height = max(1, min(r.Height, int(math.Round(h*scale))))
	}
	return l
}

// order picks the channels that the model takes from red, green and blue.
func order(rgb [3][]float32, channels string) [][]float32 {
	switch channels {
	case "bgr":
		return [][]float32{rgb[2], rgb[1], rgb[0]}
	case "gray": // the weights of ITU-R BT.601
		gray := rgb[0]
		for i := range gray {
			gray[i] = 0.299*rgb[0][i] + 0.587*rgb[1][i] + 0.114*rgb[2][i]
		}
		return [][]float32{gray}
	}
	return [][]float32{rgb[0], rgb[1], rgb[2]}
}

func normalise(plane []float32, r *serval.ImageInput, channel int) {
	scale, mean, std := r.Scale, pick(r.Mean, channel, 0), pick(r.Std, channel, 1)
	if scale == 0 {
		scale = 1.0 / 255
	}
	factor, offset := float32(scale/std), float32(mean/std)
	for i := range plane {
		plane[i] = plane[i]*factor - offset
	}
}

func pick(values []float64, i int, otherwise float64) float64 {
	switch len(values) {
	case 0:
		return otherwise
	case 1:
		return values[0]
	}
	return values[i]
}

// pack writes the channels in the recipe's order of axes, with 0 where there is padding.
func pack(channels [][]float32, l layout, r *serval.ImageInput, d serval.DType) ([]byte, error) {
	whole := d != serval.FP64 && d != serval.FP32 && d != serval.FP16 && d != serval.BF16
	data := make([]byte, 0, len(channels)*r.Height*l.full*max(1, d.Size()))
	var err error
	put := func(c, y, x int) {
		v := 0.0
		if y < l.height && x < l.width {
			v = float64(channels[c][y*l.width+x])
		}
		if whole {
			v = math.Round(v)
		}
		if err == nil {
			data, err = element.AppendFloat(data, d, v)
		}
	}
	if r.Layout == "nhwc" {
		for y := range r.Height {
			for x := range l.full {
				for c := range channels {
					put(c, y, x)
				}
			}
		}
		return data, err
	}
	for c := range channels {
		for y := range r.Height {
			for x := range l.full {
				put(c, y, x)
			}
		}
	}
	return data, err
}
