package serval

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

func TestRecipeCheck(t *testing.T) {
	image := func(change func(*ImageInput)) Recipe {
		i := &ImageInput{Input: "x", Height: 48}
		change(i)
		return Recipe{Input: InputRecipe{Image: i}}
	}
	for want, r := range map[string]Recipe{
		"recipe.input: 2 kinds":           {Input: InputRecipe{CSV: &CSVInput{}, Bytes: &BytesInput{}}},
		"recipe.output: 2 kinds":          {Output: OutputRecipe{CTC: &CTCOutput{}, Table: &TableOutput{}}},
		"recipe.input.csv":                {Input: InputRecipe{CSV: &CSVInput{Input: "x"}}},
		"recipe.input.image.input":        image(func(i *ImageInput) { i.Input = "" }),
		"recipe.input.image: height":      image(func(i *ImageInput) { i.Width = 1 << 20 }),
		"recipe.input.image.fit":          image(func(i *ImageInput) { i.Fit = "squash" }),
		"recipe.input.image.channels":     image(func(i *ImageInput) { i.Channels = "cmyk" }),
		"recipe.input.image.layout":       image(func(i *ImageInput) { i.Layout = "hwc" }),
		"recipe.input.image: mean":        image(func(i *ImageInput) { i.Mean = []float64{1, 2} }),
		"recipe.input.image.std: 0":       image(func(i *ImageInput) { i.Std = []float64{0} }),
		"recipe.input.bytes: begin":       {Input: InputRecipe{Bytes: &BytesInput{Input: "x"}}},
		"recipe.input.bytes: block":       {Input: InputRecipe{Bytes: &BytesInput{Input: "x", End: 1, Block: -1}}},
		"recipe.output.labels: output":    {Output: OutputRecipe{Labels: &LabelsOutput{}}},
		"recipe.output.ctc: output":       {Output: OutputRecipe{CTC: &CTCOutput{Output: "y", Blank: -1}}},
		"recipe.input.bytes.input: name ": {Input: InputRecipe{Bytes: &BytesInput{End: 1}}},
	} {
		if err := r.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
	if err := (&Recipe{}).Check(); err != nil {
		t.Errorf("an empty recipe: %v", err)
	}
}

func TestRecipeInline(t *testing.T) {
	folder := fstest.MapFS{"labels.txt": {Data: []byte("cat\r\ndog\n")}, "chars.txt": {Data: []byte("blank\na\n \n")}}
	r := &Recipe{Output: OutputRecipe{Labels: &LabelsOutput{Output: "y", Top: 3}}}
	got, err := r.Inline(folder, map[string]string{"y": "labels.txt"})
	if err != nil || !reflect.DeepEqual(got.Output.Labels.Labels, []string{"cat", "dog"}) || r.Output.Labels.Labels != nil {
		t.Errorf("labels: %+v, %v", got, err)
	}
	ctc := &Recipe{Output: OutputRecipe{CTC: &CTCOutput{Output: "y", File: "chars.txt"}}}
	got, err = ctc.Inline(folder, nil)
	if err != nil || !reflect.DeepEqual(got.Output.CTC.Dictionary, []string{"blank", "a", " "}) {
		t.Errorf("dictionary: %+v, %v", got, err)
	}
	data, err := json.Marshal(got)
	var back Recipe
	if err != nil || json.Unmarshal(data, &back) != nil || back.Output.CTC.Dictionary[2] != " " || strings.Contains(string(data), "chars.txt") {
		t.Errorf("as JSON: %s, %v", data, err)
	}
	ctc.Output.CTC.File = "gone.txt"
	if _, err := ctc.Inline(folder, nil); err == nil || !strings.Contains(err.Error(), "recipe.output.ctc.file") {
		t.Errorf("a missing file: %v", err)
	}
	r.Output.Labels.Output = ""
	if _, err := r.Inline(folder, nil); err == nil {
		t.Error("an unchecked recipe was inlined")
	}
}
