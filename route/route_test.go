package route

import (
	"context"
	"testing"

	"serval"
)

// swapped answers look-ups with version 1, until its handler was called: then that is retired and version 2 serves.
type swapped struct{ retired bool }

func (s *swapped) Find(ref serval.Ref) (serval.Handler, string, error) {
	version := "1"
	if s.retired {
		version = "2"
	}
	if ref.Version != "" && ref.Version != version {
		return nil, "", serval.Errorf(serval.NotFound, "no version %s", ref.Version)
	}
	return serval.HandlerFunc(func(context.Context, *serval.Request, serval.Sink) error {
		if version == "1" {
			s.retired = true
			return serval.ErrRetired
		}
		return nil
	}), version, nil
}

func TestACallMeetsTheSuccessorOfItsVersion(t *testing.T) {
	for _, asked := range []serval.Ref{{Name: "m"}, {Name: "m", Alias: "prod"}} {
		models := &swapped{}
		req := &serval.Request{Model: asked}
		if err := Resolve(models, Dispatch(models)).Handle(context.Background(), req, nil); err != nil || req.Model.Version != "2" {
			t.Errorf("%v: version %s answered, %v", asked, req.Model.Version, err)
		}
	}
	models := &swapped{}
	req := &serval.Request{Model: serval.Ref{Name: "m", Version: "1"}}
	if err := Resolve(models, Dispatch(models)).Handle(context.Background(), req, nil); serval.AsError(err).Code != serval.NotFound {
		t.Errorf("a version that was asked for by name and is gone: %v", err)
	}
}
