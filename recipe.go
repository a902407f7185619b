package serval

import (
	"fmt"
	"io/fs"
	"strings"
)

// Recipe says how a user's own file becomes a model's inputs, and how its outputs become an answer that a person reads. It
// is the `recipe:` of a model.yaml, pure data; package client carries it out, so servers never decode images. A server
// publishes it, with its lists filled in by Inline, as JSON in the model's configuration under RecipeParameter.
type Recipe struct {
	Input  InputRecipe  `yaml:"input" json:"input" doc:"how a file becomes the inputs"`
	Output OutputRecipe `yaml:"output" json:"output" doc:"how the outputs become an answer"`
}

// RecipeParameter is the name of the parameter in a model's Open Inference Protocol configuration that holds its Recipe.
const RecipeParameter = "serval_recipe"

// InputRecipe holds at most one recipe; none means: by the file's kind and the model's signature alone.
type InputRecipe struct {
	CSV   *CSVInput   `yaml:"csv" json:"csv,omitempty" doc:"columns of a table are the inputs"`
	Image *ImageInput `yaml:"image" json:"image,omitempty" doc:"one picture is one row"`
	Bytes *BytesInput `yaml:"bytes" json:"bytes,omitempty" doc:"the first and last bytes of any file are one row"`
	Audio *AudioInput `yaml:"audio" json:"audio,omitempty" doc:"a sound is a sequence of requests"`
}

// CSVInput puts columns of a CSV file side by side into one matrix input. Without it, a column is the input of its name.
type CSVInput struct {
	Input   string   `yaml:"input" json:"input" doc:"name of the matrix input"`
	Columns []string `yaml:"columns" json:"columns" doc:"columns of the file, in the order of the matrix's columns"`
}

// ImageInput turns a picture into a float tensor: resized, then per channel (value × scale − mean) ÷ std.
type ImageInput struct {
	Input    string    `yaml:"input" json:"input" doc:"name of the input"`
	Height   int       `yaml:"height" json:"height" doc:"rows of pixels"`
	Width    int       `yaml:"width" json:"width,omitempty" doc:"columns of pixels; 0: as the picture's aspect ratio gives"`
	MaxWidth int       `yaml:"max_width" json:"max_width,omitempty" doc:"where width is 0: wider pictures are squeezed to this; 0: 8192"`
	Fit      string    `yaml:"fit" json:"fit,omitempty" doc:"stretch (default), crop (fill, then cut the middle out) or pad (fit inside, then pad right and below with 0)"`
	Channels string    `yaml:"channels" json:"channels,omitempty" doc:"rgb (default), bgr or gray"`
	Layout   string    `yaml:"layout" json:"layout,omitempty" doc:"nchw (default) or nhwc"`
	Scale    float64   `yaml:"scale" json:"scale,omitempty" doc:"what a channel's 0 to 255 is multiplied by; 0: 1/255"`
	Mean     []float64 `yaml:"mean" json:"mean,omitempty" doc:"one value, or one a channel; default 0"`
	Std      []float64 `yaml:"std" json:"std,omitempty" doc:"one value, or one a channel; default 1"`
}

// BytesInput turns any file into a row of begin + end integers: its first bytes, then its last ones. A short file is
// padded behind the first and before the last bytes.
type BytesInput struct {
	Input   string `yaml:"input" json:"input" doc:"name of the input"`
	Begin   int    `yaml:"begin" json:"begin,omitempty" doc:"bytes taken from the start"`
	End     int    `yaml:"end" json:"end,omitempty" doc:"bytes taken from the end"`
	Block   int    `yaml:"block" json:"block,omitempty" doc:"bytes looked at on each side before stripping; at least the larger of begin and end"`
	Strip   bool   `yaml:"strip" json:"strip,omitempty" doc:"drop ASCII white space before the first and after the last bytes"`
	Padding int64  `yaml:"padding" json:"padding,omitempty" doc:"the value that stands for no byte"`
	Min     int    `yaml:"min" json:"min,omitempty" doc:"files with fewer bytes (after stripping) are refused"`
}

// OutputRecipe holds at most one recipe; none means a table of all outputs.
type OutputRecipe struct {
	Labels   *LabelsOutput   `yaml:"labels" json:"labels,omitempty" doc:"the best classes by score"`
	CTC      *CTCOutput      `yaml:"ctc" json:"ctc,omitempty" doc:"text, read by connectionist temporal classification"`
	Table    *TableOutput    `yaml:"table" json:"table,omitempty" doc:"chosen outputs side by side"`
	Segments *SegmentsOutput `yaml:"segments" json:"segments,omitempty" doc:"stretches of a sound"`
}

// LabelsOutput names the classes with the highest scores of an output [rows, classes].
type LabelsOutput struct {
	Output  string   `yaml:"output" json:"output" doc:"name of the output"`
	Top     int      `yaml:"top" json:"top,omitempty" doc:"how many classes; 0: 1"`
	Softmax bool     `yaml:"softmax" json:"softmax,omitempty" doc:"the output holds logits: show their softmax"`
	File    string   `yaml:"file" json:"-" doc:"file with one class a line, in the model's folder"`
	Labels  []string `yaml:"labels" json:"labels,omitempty" doc:"the classes, instead of a file"`
}

// CTCOutput reads an output [rows, steps, classes] as text: the best class of each step, repeats joined, blanks dropped.
type CTCOutput struct {
	Output     string   `yaml:"output" json:"output" doc:"name of the output"`
	Blank      int      `yaml:"blank" json:"blank" doc:"the class that stands for no character"`
	File       string   `yaml:"file" json:"-" doc:"file with the text of one class a line (also a line for the blank), in the model's folder"`
	Dictionary []string `yaml:"dictionary" json:"dictionary,omitempty" doc:"the texts, instead of a file"`
}

// TableOutput picks the outputs to show, in this order.
type TableOutput struct {
	Outputs []string `yaml:"outputs" json:"outputs" doc:"names of outputs"`
}

// Check reports the first thing that is wrong with the recipe by itself; its path stands in the message.
func (r *Recipe) Check() error {
	if n := count(r.Input.CSV != nil, r.Input.Image != nil, r.Input.Bytes != nil, r.Input.Audio != nil); n > 1 {
		return fmt.Errorf("recipe.input: %d kinds are given; keep one of csv, image, bytes, audio", n)
	}
	if n := count(r.Output.Labels != nil, r.Output.CTC != nil, r.Output.Table != nil, r.Output.Segments != nil); n > 1 {
		return fmt.Errorf("recipe.output: %d kinds are given; keep one of labels, ctc, table, segments", n)
	}
	if c := r.Input.CSV; c != nil && (c.Input == "" || len(c.Columns) == 0) {
		return fmt.Errorf("recipe.input.csv: input and columns must both be given")
	}
	if i := r.Input.Image; i != nil {
		if err := i.check(); err != nil {
			return err
		}
	}
	if b := r.Input.Bytes; b != nil {
		if err := b.check(); err != nil {
			return err
		}
	}
	if a := r.Input.Audio; a != nil {
		if err := a.check(); err != nil {
			return err
		}
	}
	if s := r.Output.Segments; s != nil {
		if err := s.check(); err != nil {
			return err
		}
	}
	if l := r.Output.Labels; l != nil && (l.Output == "" || l.Top < 0) {
		return fmt.Errorf("recipe.output.labels: output must be given, and top must not be negative")
	}
	if c := r.Output.CTC; c != nil && (c.Output == "" || c.Blank < 0) {
		return fmt.Errorf("recipe.output.ctc: output must be given, and blank must not be negative")
	}
	return nil
}

const maxPixels = 16384 // a side of a picture

func (i *ImageInput) check() error {
	channels := 3
	if i.Channels == "gray" {
		channels = 1
	}
	switch {
	case i.Input == "":
		return fmt.Errorf("recipe.input.image.input: name the input")
	case i.Height < 1 || i.Height > maxPixels || i.Width < 0 || i.Width > maxPixels || i.MaxWidth < 0 || i.MaxWidth > maxPixels:
		return fmt.Errorf("recipe.input.image: height must be 1 to %d, width and max_width 0 to %d", maxPixels, maxPixels)
	case !oneOf(i.Fit, "", "stretch", "crop", "pad"):
		return fmt.Errorf("recipe.input.image.fit: %q; use stretch, crop or pad", i.Fit)
	case !oneOf(i.Channels, "", "rgb", "bgr", "gray"):
		return fmt.Errorf("recipe.input.image.channels: %q; use rgb, bgr or gray", i.Channels)
	case !oneOf(i.Layout, "", "nchw", "nhwc"):
		return fmt.Errorf("recipe.input.image.layout: %q; use nchw or nhwc", i.Layout)
	case len(i.Mean) > 1 && len(i.Mean) != channels, len(i.Std) > 1 && len(i.Std) != channels:
		return fmt.Errorf("recipe.input.image: mean and std take one value, or %d (one a channel)", channels)
	}
	for _, s := range i.Std {
		if s == 0 {
			return fmt.Errorf("recipe.input.image.std: 0 would divide by zero")
		}
	}
	return nil
}

func (b *BytesInput) check() error {
	const most = 1 << 26
	switch {
	case b.Input == "":
		return fmt.Errorf("recipe.input.bytes.input: name the input")
	case b.Begin < 0 || b.End < 0 || b.Begin+b.End == 0 || b.Begin > most || b.End > most:
		return fmt.Errorf("recipe.input.bytes: begin and end must be 0 to %d, and one of them more than 0", most)
	case b.Block < 0 || b.Block > most || b.Min < 0:
		return fmt.Errorf("recipe.input.bytes: block must be 0 to %d, and min not negative", most)
	}
	return nil
}

// Inline returns a copy that stands on its own: the lists of files in the model's folder are filled in. A labels recipe
// without a list takes the file that the model's `labels:` (output → file) names for its output, if any. It also Checks.
func (r *Recipe) Inline(folder fs.FS, labels map[string]string) (*Recipe, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	whole := *r
	if l := r.Output.Labels; l != nil && l.Labels == nil {
		filled := *l
		if filled.File == "" {
			filled.File = labels[l.Output]
		}
		var err error
		if filled.Labels, err = readLines(folder, filled.File); err != nil {
			return nil, fmt.Errorf("recipe.output.labels.file: %w", err)
		}
		whole.Output.Labels = &filled
	}
	if c := r.Output.CTC; c != nil && c.Dictionary == nil {
		filled := *c
		var err error
		if filled.Dictionary, err = readLines(folder, filled.File); err != nil {
			return nil, fmt.Errorf("recipe.output.ctc.file: %w", err)
		}
		whole.Output.CTC = &filled
	}
	return &whole, nil
}

// readLines reads a list with one entry a line; an entry may be a space. No name gives no list.
func readLines(folder fs.FS, name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	data, err := fs.ReadFile(folder, name)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines, nil
}

func count(set ...bool) int {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

func oneOf(s string, allowed ...string) bool {
	for _, a := range allowed {
		if s == a {
			return true
		}
	}
	return false
}
