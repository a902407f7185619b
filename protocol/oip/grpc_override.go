package oip

import (
	"serval"
	"serval/wire/triton"
)

// configOverride turns the Triton model configuration that a load request brings, as JSON, into settings, by what a model's
// config.pbtxt is read with, too.
func configOverride(model, text string) (*serval.ModelSettings, error) {
	const source = "parameter 'config'"
	c, err := triton.ReadJSON(text)
	if err != nil {
		return nil, err
	}
	if c.Name != "" && c.Name != model {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: name: is %q, the model is %q; leave it out or make it the same", source, c.Name, model).At("config")
	}
	s, err := triton.Settings(c, source)
	if err != nil {
		return nil, serval.AsError(err).At("config")
	}
	return &s, nil
}

func errFileOverride(param string) error {
	return serval.Errorf(serval.Unimplemented, "parameter '%s': a model cannot be loaded from the request's own bytes; put the file into the model's folder and load it", param).At(param)
}
