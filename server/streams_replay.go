package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"serval"
	"serval/console/api"
	"serval/stream"
)

const (
	replayBatch = 500
	replayTold  = 250 * time.Millisecond
)

// Replay implements api.Streams. It lasts as long as the caller listens. What is done is kept in the data folder, so that the same
// call goes on where one was cut off, and dead letters go back only once.
func (s *Streams) Replay(ctx context.Context, name string, ask *api.StreamReplay, said func(*api.StreamReplayed) error) error {
	e, err := s.able(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	busy := s.replays[name]
	s.replays[name] = true
	s.mu.Unlock()
	if busy {
		return serval.Errorf(serval.Conflict, "messages of stream '%s' are being replayed already; wait for its end, or end it", name)
	}
	defer func() {
		s.mu.Lock()
		delete(s.replays, name)
		s.mu.Unlock()
	}()
	ctx, done, err := s.look(ctx)
	if err != nil {
		return err
	}
	defer done()
	r := &replay{s: s, e: e, ask: ask, said: said, env: s.envOf(name, "replay", false, false)(nil), told: api.StreamReplayed{What: ask.What, DryRun: ask.DryRun}}
	place := api.PlaceDead
	if ask.What == api.PlaceSource {
		place = api.PlaceSource
	}
	if err := r.open(ctx, place); err != nil {
		return err
	}
	defer r.peek.Close()
	if place == api.PlaceSource {
		err = r.source(ctx)
	} else {
		err = r.letters(ctx)
	}
	if err != nil && s.life.Err() != nil {
		return serval.Errorf(serval.Unavailable, "%w; the same call goes on where this one stopped", errStopping)
	}
	return err
}

// replay is one that is under way.
type replay struct {
	s     *Streams
	e     *streamed
	ask   *api.StreamReplay
	said  func(*api.StreamReplayed) error
	env   stream.Env
	peek  stream.Peek
	marks *marks
	told  api.StreamReplayed
}

// open opens what is replayed and what is known of earlier replays.
func (r *replay) open(ctx context.Context, place string) error {
	b, options, err := r.s.placeOf(r.e, place)
	if err != nil {
		return err
	}
	var v stream.View
	if v.Since, v.From, err = bound("from", r.ask.From); err != nil {
		return err
	}
	if v.Until, v.To, err = bound("to", r.ask.To); err != nil {
		return err
	}
	if !v.Since.IsZero() && !v.Until.IsZero() && !v.Since.Before(v.Until) {
		return serval.Errorf(serval.InvalidArgument, "to must be later than from").At("to")
	}
	file := r.e.name + ".dead"
	if place == api.PlaceSource { // each range is remembered for itself, until it is done
		what := *r.ask
		what.Again, what.DryRun = false, false
		raw, err := json.Marshal(what)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(raw)
		file = r.e.name + "." + hex.EncodeToString(sum[:6])
	}
	if r.marks, err = openMarks(filepath.Join(r.s.dir, "control", "replayed", file)); err != nil {
		return err
	}
	if r.peek, err = b.Peek(ctx, options, v, r.env); err != nil {
		return err
	}
	r.told.Of = r.peek.Size()
	return nil
}

// bound reads one end of the range: a time, or positions.
func bound(name string, list []string) (t time.Time, positions []stream.Position, err error) {
	t, ok, err := api.Moment(name, list)
	if err != nil || ok {
		return t, nil, err
	}
	for _, text := range list {
		p, ok := parsePosition(text)
		if !ok {
			return t, nil, serval.Errorf(serval.InvalidArgument, "%s must be one time, or positions such as applicants/0@1200; it has %.100q", name, text).At(name)
		}
		positions = append(positions, p)
	}
	return t, positions, nil
}

// parsePosition reads what stream.Position writes: topic/partition@offset, or topic@id.
func parsePosition(text string) (p stream.Position, ok bool) {
	place, at, ok := cutLast(text, "@")
	if !ok || place == "" || at == "" {
		return p, false
	}
	topic, number, ok := cutLast(place, "/")
	partition, err := strconv.ParseInt(number, 10, 32)
	if !ok || err != nil || topic == "" || partition < 0 {
		return stream.Position{Topic: place, ID: at}, true
	}
	offset, err := strconv.ParseInt(at, 10, 64)
	return stream.Position{Topic: topic, Partition: int32(partition), Offset: offset}, err == nil && offset >= 0
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// wanted says whether a message was asked for by its key.
func (r *replay) wanted(m *stream.Message) bool {
	return len(r.ask.Keys) == 0 || slices.Contains(r.ask.Keys, string(m.Key))
}

func (r *replay) full() bool { return r.ask.Limit > 0 && r.told.Replayed >= r.ask.Limit }

// letters sends dead letters back.
func (r *replay) letters(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.marks.close(false)) }()
	r.told.Codes = map[string]int64{}
	b, ok := r.s.known[r.e.conf.Source.Name].(stream.Returner)
	if !ok {
		return serval.Errorf(serval.Unimplemented, "the source of stream '%s' is %s, which takes no messages back", r.e.name, r.e.conf.Source.Name)
	}
	var to stream.Target
	if !r.ask.DryRun {
		if to, err = b.Return(ctx, r.e.conf.Source.Options, r.env); err != nil {
			return err
		}
		defer to.Close()
	}
	for !r.full() {
		list, err := r.peek.Read(ctx, replayBatch)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := r.back(ctx, to, list); err != nil {
			return err
		}
		if err := r.said(&r.told); err != nil {
			return err
		}
	}
	r.told.Ended, r.told.Reason = true, r.reason()
	return r.said(&r.told)
}

func (r *replay) reason() string {
	if r.told.Failed == 0 {
		return ""
	}
	return r.told.Reason
}

// letter is a dead letter on its way back.
type letter struct {
	at   stream.Position // among the dead letters
	code string
	m    *stream.Message
}

// back sends those of some dead letters back that are asked for.
func (r *replay) back(ctx context.Context, to stream.Target, list []stream.Message) error {
	var out []letter
	for i := range list {
		if r.ask.Limit > 0 && r.told.Replayed+int64(len(out)) >= r.ask.Limit {
			break
		}
		m := &list[i]
		r.told.Read++
		code := stream.LetterCode(m)
		switch {
		case !r.wanted(m), stream.LetterStream(m) != r.e.name, len(r.ask.Codes) > 0 && !slices.Contains(r.ask.Codes, code):
			r.told.Others++
			continue
		case !r.ask.Again && r.marks.has(m.Position):
			r.told.Before++
			continue
		}
		original, whole := stream.Original(m)
		if !whole {
			r.told.Lost++
			continue
		}
		out = append(out, letter{m.Position, code, original})
	}
	if r.ask.DryRun {
		for i := range out {
			r.told.Replayed++
			r.told.Codes[out[i].code]++
		}
		return nil
	}
	return r.send(ctx, to, out)
}

// send writes until all are written, or refused for good.
func (r *replay) send(ctx context.Context, to stream.Target, out []letter) error {
	for wait := time.Duration(0); len(out) > 0; {
		messages := make([]*stream.Message, len(out))
		for i := range out {
			messages[i] = out[i].m
		}
		err := to.Write(ctx, messages)
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		var partly *stream.WriteError
		if err != nil && !errors.As(err, &partly) {
			partly = &stream.WriteError{Failed: map[int]error{}}
			for i := range out {
				partly.Failed[i] = err
			}
		}
		var left []letter
		for i := range out {
			var e error
			if partly != nil {
				e = partly.Failed[i]
			}
			switch {
			case e == nil:
				r.told.Replayed++
				r.told.Codes[out[i].code]++
				r.marks.add(out[i].at)
			case stream.IsPermanent(e):
				r.told.Failed++
				r.told.Reason = e.Error()
			default:
				left = append(left, out[i])
			}
		}
		if err := r.marks.flush(); err != nil {
			return err
		}
		if out = left; len(out) == 0 {
			return nil
		}
		r.told.Reason = err.Error()
		if err := r.said(&r.told); err != nil {
			return err
		}
		wait = min(max(2*wait, 100*time.Millisecond), 5*time.Second)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
