package files

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"serval/batch"
	"serval/stream"
)

// folders is a path with places to fill in.
type folders struct {
	remote bool   // s3://, gs:// or azblob://
	root   string // up to the first part with a place; it must be there
	rest   string // what follows; "": nothing
	query  string // of what is remote: settings, with the question mark
}

// places are what a path may hold.
const places = "{date}, {hour}, {year}, {month}, {day}, {stream} and {topic}"

func parsePath(text string) (folders, error) {
	f := folders{}
	if text == "" {
		return f, bad("path", "is missing; name a folder, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix")
	}
	scheme, tail, ok := strings.Cut(text, "://")
	switch {
	case !ok:
	case batch.InBucket(text):
		scheme = strings.ToLower(scheme)
		f.remote = true
		if tail, f.query, ok = strings.Cut(tail, "?"); ok {
			f.query = "?" + f.query
		}
		text = scheme + "://" + tail
		if bucket, _, _ := strings.Cut(tail, "/"); bucket == "" || strings.ContainsAny(bucket, "{}") {
			return f, bad("path", "is %q; write %s://bucket/prefix", text, scheme)
		}
	case scheme == "file" && strings.HasPrefix(tail, "/"):
		text = tail
	default:
		return f, bad("path", "is %q; write a folder's path, file:///folder, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix", text)
	}
	if strings.ContainsAny(text, "*?[]\x00\r\n") {
		return f, bad("path", "has a character that no folder's name should have: one of * ? [ ]")
	}
	text = strings.TrimRight(text, "/")
	if text == "" {
		text = "/"
	}
	filled := replacer(time.Time{}, "s", "t").Replace(text)
	if strings.ContainsAny(filled, "{}") {
		return f, bad("path", "is %q; in braces there may be %s", text, places)
	}
	f.root = text
	if at := strings.IndexByte(text, '{'); at >= 0 {
		slash := strings.LastIndexByte(text[:at], '/')
		f.root, f.rest = text[:max(slash, 0)], text[slash+1:]
		if slash == 0 {
			f.root = "/"
		} else if slash < 0 {
			f.root = "."
		}
	}
	return f, nil
}

func replacer(at time.Time, streamName, topic string) *strings.Replacer {
	at = at.UTC()
	return strings.NewReplacer("{date}", at.Format(time.DateOnly), "{hour}", at.Format("15"), "{year}", at.Format("2006"),
		"{month}", at.Format("01"), "{day}", at.Format("02"), "{stream}", plain(streamName), "{topic}", plain(topic))
}

// plain is a name with nothing in it that means something in a path.
func plain(name string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, name)
	if s = strings.TrimLeft(s, "."); s == "" {
		s = "-"
	}
	return s[:min(len(s), 100)]
}

// folder is where a message's row lies, below the root.
func (t *target) folder(m *stream.Message, now time.Time) string {
	if t.path.rest == "" {
		return ""
	}
	at := now
	if t.opt.Clock == "message" && !m.Time.IsZero() {
		at = m.Time
	}
	hour := at.Unix() / 3600
	if c := &t.folders; c.hour != hour || c.topic != m.Position.Topic || c.name == "" { // most follow one of the same folder
		c.hour, c.topic = hour, m.Position.Topic
		c.name = replacer(at, t.env.Stream, m.Position.Topic).Replace(t.path.rest)
	}
	return t.folders.name
}

// file is the name of a group's file: the stream, where the messages stood, the first and the last of them, and where others are between
// these, a digest of which they are: a part of them that is written again, as a replay does, must not take the place of all. The same
// messages have the same name, whenever they are written.
func (g *group) file(t *target) string {
	name := plain(t.env.Stream)
	if g.dead {
		name += "_dead"
	}
	if g.ids {
		h := fnv.New64a()
		for i := range g.rows {
			_, _ = h.Write([]byte(g.rows[i].m.Position.String() + "\n"))
		}
		return fmt.Sprintf("%s_%s_%s_%016x%s", name, plain(g.topic), g.since.UTC().Format("20060102T150405.000Z"), h.Sum64(), t.opt.extension())
	}
	gaps := ""
	if int64(len(g.rows)) != g.last-g.first+1 {
		h := fnv.New64a()
		for i := range g.rows {
			_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(g.rows[i].m.Position.Offset)))
		}
		gaps = fmt.Sprintf("_%016x", h.Sum64())
	}
	return fmt.Sprintf("%s_%s_%019d-%019d%s%s", name, plain(g.lane), g.first, g.last, gaps, t.opt.extension())
}

// location is where a file of a folder goes.
func (t *target) location(folder, file string) string {
	if t.path.remote {
		return strings.TrimSuffix(t.path.root, "/") + "/" + path.Join(folder, file) + t.path.query
	}
	return filepath.Join(t.path.root, folder, file)
}

// staging is the folder of files in the making. On this machine it lies in the root, so that a file gets to its place by a rename;
// else in the server's folder. Its name begins with a dot, which readers of folders leave out.
func (t *target) staging() string {
	h := fnv.New64a() // two ends of a stream may be files
	_, _ = h.Write([]byte(t.opt.Path))
	own := fmt.Sprintf("%s.%s.%016x", plain(t.env.Stream), plain(t.env.Instance), h.Sum64())
	if !t.path.remote {
		return filepath.Join(t.path.root, ".serval", own)
	}
	dir := t.env.Dir
	if dir == "" {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "files."+own)
}
