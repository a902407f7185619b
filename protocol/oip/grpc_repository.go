package oip

import (
	"context"
	"strings"

	"serval"
	"serval/wire/inference"
)

// RepositoryIndex lists every version of every model, or those that are ready.
func (s *service) RepositoryIndex(ctx context.Context, r *inference.RepositoryIndexRequest) (*inference.RepositoryIndexResponse, error) {
	if err := checkRepository(r.RepositoryName); err != nil {
		return nil, grpcError(ctx, err)
	}
	out := &inference.RepositoryIndexResponse{}
	for _, info := range s.p.backend.Models.List() {
		if r.Ready && info.State != serval.StateReady {
			continue
		}
		out.Models = append(out.Models, &inference.RepositoryIndexResponse_ModelIndex{
			Name: info.Name, Version: info.Version, State: string(info.State), Reason: info.Reason,
		})
	}
	return out, nil
}

// checkRepository refuses the name of a repository, of which there is one, without a name.
func checkRepository(name string) error {
	if name != "" {
		return serval.Errorf(serval.Unimplemented, "repository_name '%s': this server has one model repository; leave the name out", name).At("repository_name")
	}
	return nil
}

// modelOf reads the model's name from a load or unload in either dialect: KServe's messages have it in field 1, where
// Triton's have the repository's.
func modelOf(repository, model string) (string, error) {
	switch {
	case model == "" && repository != "":
		return repository, nil
	case model == "":
		return "", serval.Errorf(serval.InvalidArgument, "model_name is empty; name the model").At("model_name")
	}
	return model, checkRepository(repository)
}

// RepositoryModelLoad loads a model, or loads it anew; the parameter "config" replaces its settings.
func (s *service) RepositoryModelLoad(ctx context.Context, r *inference.RepositoryModelLoadRequest) (*inference.RepositoryModelLoadResponse, error) {
	name, err := modelOf(r.RepositoryName, r.ModelName)
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	var override *serval.ModelSettings
	for param, v := range r.Parameters {
		switch {
		case param == "config":
			text, ok := v.GetParameterChoice().(*inference.ModelRepositoryParameter_StringParam)
			if !ok {
				return nil, grpcError(ctx, serval.Errorf(serval.InvalidArgument, "parameter 'config' must be a string that holds the model configuration as JSON").At("config"))
			}
			if override, err = configOverride(name, text.StringParam); err != nil {
				return nil, grpcError(ctx, err)
			}
		case strings.HasPrefix(param, "file:"):
			return nil, grpcError(ctx, errFileOverride(param))
		default:
			return nil, grpcError(ctx, serval.Errorf(serval.InvalidArgument, "parameter '%s' is not known to load; it takes 'config'", param).At(param))
		}
	}
	if err := s.p.backend.Control.Load(ctx, name, override); err != nil {
		return nil, grpcError(ctx, err)
	}
	return &inference.RepositoryModelLoadResponse{ModelName: name, IsLoaded: true}, nil
}

// RepositoryModelUnload drains and unloads every version of a model. The parameter unload_dependents is let pass: no model
// depends on another.
func (s *service) RepositoryModelUnload(ctx context.Context, r *inference.RepositoryModelUnloadRequest) (*inference.RepositoryModelUnloadResponse, error) {
	name, err := modelOf(r.RepositoryName, r.ModelName)
	if err == nil {
		err = s.p.backend.Control.Unload(ctx, name)
	}
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	return &inference.RepositoryModelUnloadResponse{ModelName: name, IsUnloaded: true}, nil
}
