package server

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"serval"
	"serval/config"
	"serval/console/api"
)

// streamEnv begins the names of the environment variables that definitions from the API may name: whoever may change streams may
// not read the server's environment with them.
const streamEnv = "SERVAL_STREAM_"

// maxMade bounds what the API makes.
const maxMade = 1000

// source is for the reader of a definition that came through the API; hint is to be put behind its error.
func (s *Streams) source(text, file string) (src config.Source, hint func() string) {
	refused := ""
	env := func(name string) (string, bool) {
		if !strings.HasPrefix(name, streamEnv) || s.env == nil {
			refused = name
			return "", false
		}
		return s.env(name)
	}
	src = config.Source{Data: []byte(text), File: file, Env: env, Plugins: s.plugins, Streams: func(_ string, c *config.Stream) []config.Mistake { return mistakes(c, s.known) }}
	return src, func() string {
		if refused == "" {
			return ""
		}
		return fmt.Sprintf("\n(definitions that come through the API may only name variables that begin with %s, not %s)", streamEnv, refused)
	}
}

// mistaken is a reader's error as the API's.
func mistaken(err error, hint string) error {
	var list *config.Errors
	if !errors.As(err, &list) || len(*list) == 0 {
		return err
	}
	return serval.Errorf(serval.InvalidArgument, "%v%s", err, hint).At((*list)[0].Path)
}

func (s *Streams) read(name, text string) (*config.StreamText, error) {
	src, hint := s.source(text, "body")
	read, err := config.ReadStream(name, src)
	if err != nil {
		return nil, mistaken(err, hint())
	}
	return read, nil
}

// Schema is the JSON Schema of a stream's definition.
func (s *Streams) Schema() map[string]any { return config.StreamSchema(s.plugins) }

// Make implements api.Streams: it makes the streams of a document with the section streams, as serval.yaml has it.
func (s *Streams) Make(_ context.Context, document string, replace, dry bool) ([]api.StreamChange, error) {
	src, hint := s.source(document, "body")
	list, err := config.ReadStreams(src)
	if err != nil {
		return nil, mistaken(err, hint())
	}
	return s.change(list, !replace, dry)
}

// Put implements api.Streams: it makes or replaces one stream.
func (s *Streams) Put(_ context.Context, name, definition string, dry bool) (*api.StreamChange, error) {
	read, err := s.read(name, definition)
	if err != nil {
		return nil, err
	}
	list, err := s.change([]config.StreamText{*read}, false, dry)
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// change makes and replaces streams: all are checked before the first one is touched. It ends also when the caller has left.
func (s *Streams) change(list []config.StreamText, fresh, dry bool) ([]api.StreamChange, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.life.Err() != nil {
		return nil, serval.Errorf(serval.Unavailable, "%w", errStopping)
	}
	made := make([]*streamed, len(list))
	out := make([]api.StreamChange, len(list))
	count := len(s.List())
	for i := range list {
		t := &list[i]
		old, err := s.find(t.Name)
		switch {
		case err != nil:
			count++
			out[i].Change = "created"
		case old.configured:
			return nil, fromFile(t.Name)
		case fresh:
			return nil, serval.Errorf(serval.Conflict, "there is a stream '%s' already; replace it with PUT, or with replace=true", t.Name).At("streams." + t.Name)
		case old.worker != nil && reflect.DeepEqual(old.conf, t.Stream):
			out[i].Change = "unchanged"
		default:
			out[i].Change = "replaced"
		}
		if count > maxMade {
			return nil, serval.Errorf(serval.ResourceExhausted, "there are %d streams; the API makes no more", maxMade)
		}
		out[i].Name, out[i].DryRun = t.Name, dry
		if made[i], err = s.build(t.Name, t.Stream, t.Text); err != nil {
			return nil, err
		}
		if ref, err := serval.ParseRef(t.Stream.Model); err == nil {
			if _, err := s.models.Model(ref); err != nil {
				out[i].Warning = "the stream waits until there is its model: " + serval.AsError(err).Message
			}
		}
	}
	if err := s.agree(made); err != nil {
		return nil, err
	}
	for i, e := range made {
		if !dry {
			if err := s.swap(e, out[i].Change == "unchanged"); err != nil {
				return nil, err
			}
		}
		out[i].Stream = e.status()
		if now, err := s.find(e.name); err == nil {
			out[i].Stream = now.status()
		}
	}
	return out, nil
}

// agree says whether streams that are to be made fit together with each other and with those that there are and that stay, in what they say
// of what they share. Nothing remembers it.
func (s *Streams) agree(made []*streamed) error {
	check := StreamCheck()
	fresh := map[string]bool{}
	for _, e := range made {
		fresh[e.name] = true
	}
	s.mu.Lock()
	var stay []*streamed
	for _, e := range s.all {
		if !fresh[e.name] && e.worker != nil {
			stay = append(stay, e)
		}
	}
	s.mu.Unlock()
	for i, e := range append(stay, made...) {
		if list := check(e.name, &e.conf); len(list) > 0 && i >= len(stay) {
			return serval.Errorf(serval.InvalidArgument, "streams.%s.%s: %s", e.name, list[0].Path, list[0].Reason).At("streams." + e.name + "." + list[0].Path)
		}
	}
	return nil
}

// swap puts a stream in another one's place: the old one has finished before the new one begins, and what it did not finish the
// broker gives the new one. same says that only its text changes.
func (s *Streams) swap(e *streamed, same bool) error {
	if path, err := settle(&e.conf, s.known); err != nil {
		return serval.Errorf(serval.InvalidArgument, "streams.%s.%s: %w", e.name, path, err).At("streams." + e.name + "." + path)
	}
	if err := s.kept.put(e.name, e.text); err != nil {
		return serval.Errorf(serval.Unavailable, "stream '%s' cannot be kept, so nothing was changed: %w", e.name, err)
	}
	s.mu.Lock()
	old := s.all[e.name]
	if same {
		old.text = e.text
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if old != nil {
		s.stop(old)
	}
	s.pausing.Lock()
	defer s.pausing.Unlock()
	e.pause(s.kept.paused(e.name, e.conf.Paused)) // it may have been paused since it was built
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[e.name] = e
	s.start(e)
	return nil
}

// Delete implements api.Streams: the stream finishes what is under way and is no more. What the broker knows of it, a consumer
// group's positions, stays: a stream of the same definition goes on there.
func (s *Streams) Delete(_ context.Context, name string, dry bool) (*api.StreamChange, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	e, err := s.find(name)
	if err != nil {
		return nil, err
	}
	if e.configured {
		return nil, fromFile(name)
	}
	if !dry {
		if err := s.kept.forget(name); err != nil {
			return nil, serval.Errorf(serval.Unavailable, "stream '%s' was not deleted: %w", name, err)
		}
		s.stop(e)
		s.compares.challenge(name, nil)
		s.pausing.Lock()
		s.mu.Lock()
		delete(s.all, name)
		s.mu.Unlock()
		err := s.kept.forget(name) // somebody may have paused it while it ended, which the next one of that name is not to find
		s.pausing.Unlock()
		if err != nil {
			return nil, serval.Errorf(serval.Unavailable, "stream '%s' is deleted, but one of that name may begin as it was paused: %w", name, err)
		}
	}
	return &api.StreamChange{Name: name, Change: "deleted", DryRun: dry, Stream: e.status()}, nil
}

// Definition implements api.Streams: it is the text that a stream was made with.
func (s *Streams) Definition(name string) (string, error) {
	e, err := s.find(name)
	if err != nil {
		return "", err
	}
	if e.configured {
		return "", fromFile(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.text, nil
}

func fromFile(name string) error {
	return serval.Errorf(serval.Conflict, "stream '%s' stands in the server's configuration file (streams.%s in serval.yaml); change it there and restart the server, or remove it there and make it through the API", name, name).
		At("streams." + name).Named("configured")
}

var _ api.Streams = (*Streams)(nil)
