package protocol

import (
	"strings"

	"serval"
)

// OnlyText is the model that a request means which names none, as the dialects of servers with one model do: the only one
// that is ready and that want takes.
func OnlyText(models Models, want func(*serval.Language) bool) (serval.Ref, error) {
	var names []string
	for _, info := range models.List() {
		if info.Language != nil && info.State == serval.StateReady && want(info.Language) && (len(names) == 0 || names[len(names)-1] != info.Name) {
			names = append(names, info.Name)
		}
	}
	switch len(names) {
	case 1:
		return serval.Ref{Name: names[0]}, nil
	case 0:
		return serval.Ref{}, serval.Errorf(serval.NotFound, "no model that could answer this is loaded").At("model")
	}
	return serval.Ref{}, serval.Errorf(serval.InvalidArgument, "model is missing, and %d could be meant: name one of %s", len(names), strings.Join(names, ", ")).At("model")
}
