package input

import (
	"image"
	"image/draw"
	"math"
)

// resize scales a part of a picture to width × height and returns its red, green and blue planes, 0 to 255. It weighs
// neighbours linearly by distance, over a support that grows as the picture shrinks, as Pillow's BILINEAR does. What is
// transparent is shown on white.
func resize(src image.Image, from image.Rectangle, width, height int) [3][]float32 {
	across := taps(from.Dx(), width)
	down := taps(from.Dy(), height)
	var narrow, out [3][]float32 // narrow: every row of the source at the new width
	for c := range 3 {
		narrow[c] = make([]float32, from.Dy()*width)
		out[c] = make([]float32, height*width)
	}
	row := image.NewRGBA(image.Rect(0, 0, from.Dx(), 1))
	for y := range from.Dy() {
		draw.Draw(row, row.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(row, row.Rect, src, image.Pt(from.Min.X, from.Min.Y+y), draw.Over)
		for x, t := range across {
			var sum [3]float32
			for i, w := range t.weights {
				p := row.Pix[4*(t.first+i):]
				for c := range sum {
					sum[c] += w * float32(p[c])
				}
			}
			for c := range sum {
				narrow[c][y*width+x] = sum[c]
			}
		}
	}
	for c := range 3 {
		for y, t := range down {
			line := out[c][y*width : (y+1)*width]
			for i, w := range t.weights {
				for x, v := range narrow[c][(t.first+i)*width : (t.first+i+1)*width] {
					line[x] += w * v
				}
			}
		}
	}
	return out
}

// tap is how much each source pixel from first on adds to one pixel.
type tap struct {
	first   int
	weights []float32
}

func taps(from, to int) []tap {
	scale := float64(from) / float64(to)
	support := max(1, scale)
	list := make([]tap, to)
	for i := range list {
		centre := (float64(i) + 0.5) * scale
		first := max(0, int(math.Floor(centre-support+0.5)))
		end := min(from, int(math.Floor(centre+support+0.5)))
		weights := make([]float32, max(1, end-first))
		first = min(first, from-len(weights))
		sum := float32(0)
		for j := range weights {
			weights[j] = float32(max(0, 1-math.Abs((float64(first+j)+0.5-centre)/support)))
			sum += weights[j]
		}
		if sum == 0 {
			weights[0], sum = 1, 1
		}
		for j := range weights {
			weights[j] /= sum
		}
		list[i] = tap{first, weights}
	}
	return list
}
