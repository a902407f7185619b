package api

import (
	"context"
	"net/http"

	"serval"
)

// StreamMaker makes and changes streams. Definitions are YAML or JSON, as the section streams of a serval.yaml has them.
type StreamMaker interface {
	// Make makes the streams of a document with the section streams: all or none are right. replace has those replaced that are
	// there; dry only says what would be.
	Make(ctx context.Context, document string, replace, dry bool) ([]StreamChange, error)
	// Put makes or replaces one.
	Put(ctx context.Context, name, definition string, dry bool) (*StreamChange, error)
	Delete(ctx context.Context, name string, dry bool) (*StreamChange, error)
	// Definition is what a stream was made with.
	Definition(name string) (string, error)
	// Schema is the JSON Schema of one definition.
	Schema() map[string]any
}

// StreamChange is what became of a stream.
type StreamChange struct {
	Name    string              `json:"name"`
	Change  string              `json:"change" enum:"created,replaced,unchanged,deleted"`
	DryRun  bool                `json:"dry_run,omitempty" doc:"nothing was changed: this is what would be"`
	Warning string              `json:"warning,omitempty"`
	Stream  serval.StreamStatus `json:"-"`
	Shown   Stream              `json:"stream" doc:"the stream as it is now"`
}

// StreamChanges is what became of several.
type StreamChanges struct {
	Streams []StreamChange `json:"streams"`
}

// StreamDefinition is what a stream was made with.
type StreamDefinition struct {
	Name       string `json:"name"`
	Definition string `json:"definition" doc:"YAML, with ${NAME} where the environment fills in"`
}

var dryRun = param{"dry_run", "true: nothing is changed, and the answer says what would be"}

const oneStream = "/api/v1/streams/{name}"

func (s *streams) definitions(wrap func(map[string]any) map[string]any) document {
	return document{"StreamDefinitionText", s.Schema, wrap}
}

func (s *streams) create() route {
	in := s.definitions(func(one map[string]any) map[string]any {
		return map[string]any{"type": "object", "required": []string{"streams"}, "properties": map[string]any{"streams": map[string]any{"type": "object", "additionalProperties": one}}}
	})
	return route{method: "POST", path: "/api/v1/streams", id: "createStreams", in: in, out: StreamChanges{}, status: http.StatusCreated, change: true,
		says:  "makes streams: the body is the section streams of a serval.yaml. They last over restarts of the server",
		query: []param{{"replace", "true: streams that are there are replaced; else that is a conflict"}, dryRun},
		serve: func(c *call) (any, error) {
			replace, err := c.yes("replace")
			if err != nil {
				return nil, err
			}
			return s.made(c, func(text string, dry bool) ([]StreamChange, error) { return s.Make(c.Context(), text, replace, dry) })
		}}
}

func (s *streams) replace() route {
	in := s.definitions(func(one map[string]any) map[string]any { return one })
	return route{method: "PUT", path: oneStream, id: "replaceStream", in: in, out: StreamChange{}, status: http.StatusCreated, change: true, query: []param{dryRun},
		says: "makes a stream, or replaces it: what is under way is finished before the new one begins",
		serve: func(c *call) (any, error) {
			out, err := s.made(c, func(text string, dry bool) ([]StreamChange, error) {
				one, err := s.Put(c.Context(), c.PathValue("name"), text, dry)
				if err != nil {
					return nil, err
				}
				return []StreamChange{*one}, nil
			})
			if list, ok := out.(created); ok {
				return created{list.value.(StreamChanges).Streams[0], list.fresh}, nil
			}
			return nil, err
		}}
}

// made reads a body and answers with what became of it: 201 where something was made.
func (s *streams) made(c *call, do func(text string, dry bool) ([]StreamChange, error)) (any, error) {
	dry, err := c.yes("dry_run")
	if err != nil {
		return nil, err
	}
	text, err := c.text()
	if err != nil {
		return nil, err
	}
	list, err := do(string(text), dry)
	if err != nil {
		return nil, err
	}
	fresh := false
	for i := range list {
		list[i].Shown = showStream(list[i].Stream)
		fresh = fresh || list[i].Change == "created" && !dry
	}
	return created{StreamChanges{list}, fresh}, nil
}

func (s *streams) remove() route {
	return route{method: "DELETE", path: oneStream, id: "deleteStream", out: StreamChange{}, change: true, query: []param{dryRun},
		says: "deletes a stream that was made through this API, when what is under way is finished; positions stay with the broker",
		serve: func(c *call) (any, error) {
			dry, err := c.yes("dry_run")
			if err != nil {
				return nil, err
			}
			one, err := s.Delete(c.Context(), c.PathValue("name"), dry)
			if err != nil {
				return nil, err
			}
			one.Shown = showStream(one.Stream)
			return *one, nil
		}}
}

func (s *streams) definition() route {
	return route{method: "GET", path: oneStream + "/definition", id: "getStreamDefinition", out: StreamDefinition{}, change: true, // it may hold passwords
		says: "shows what a stream was made with through this API",
		serve: func(c *call) (any, error) {
			text, err := s.Definition(c.PathValue("name"))
			if err != nil {
				return nil, err
			}
			return StreamDefinition{c.PathValue("name"), text}, nil
		}}
}
