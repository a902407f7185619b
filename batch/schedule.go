package batch

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"strings"
	"time"

	"serval"
)

// Schedule makes jobs by itself: at the times of a cron expression, or of objects that appear.
type Schedule struct {
	ID     string
	Tenant string // whose the jobs are
	Name   string // a tenant's own
	Origin string // "config": of a server's configuration; "": a client's
	Plan   json.RawMessage

	Created time.Time
	Due     time.Time // the next time; zero: it watches
	Last    time.Time // when it made a job; zero: never
	LastJob string
	Reason  string // why it could not do what it should, the last time
}

// SchedulePlan says when, and what. Cron or Watch is given, not both.
type SchedulePlan struct {
	Cron string `json:"cron,omitempty"`
	Zone string `json:"time_zone,omitempty"`
	// Watch is a location, as an input has it: each object that appears there is an input of a job of its own.
	Watch string `json:"watch,omitempty"`
	// Every is how often it is looked at, Settle how long a file must have been the same before it is taken: others may still
	// write it. Objects of a bucket appear whole.
	Every  string `json:"every,omitempty"`
	Settle string `json:"settle,omitempty"`
	// Existing says that objects count that were there before the schedule was.
	Existing bool `json:"existing,omitempty"`
	// Job may have, in its inputs and its output, {date} and {time} of the firing, and {name} and {stem} of the object.
	Job       DataSpec `json:"job"`
	Priority  int      `json:"priority,omitempty"`
	ExpiresIn string   `json:"expires_in,omitempty"`
	Keep      string   `json:"keep,omitempty"`
}

// Schedules is where they are kept; a store implements it. Another tenant's are not there; tenant "" may see all. Safe for
// concurrent use, by several processes.
type Schedules interface {
	// AddSchedule adds one; a name that the tenant has is a Conflict.
	AddSchedule(context.Context, *Schedule) error
	Schedules(ctx context.Context, tenant string) ([]*Schedule, error)
	// Schedule returns one, by its id or its name; a name that several tenants have is a Conflict.
	Schedule(ctx context.Context, tenant, id string) (*Schedule, error)
	DeleteSchedule(ctx context.Context, tenant, id string) error
	// UpdateSchedule changes the Plan, and Due, of the one with that ID.
	UpdateSchedule(context.Context, *Schedule) error
	// Fired notes the job that was made, or why none was, and when the next is due, unless Due is another by now.
	Fired(ctx context.Context, s *Schedule, due time.Time, job, reason string) error
	// UsedKeys says which keys of Submit a tenant has used; UseKeys uses some without a job: all, or after an error some of them.
	UsedKeys(ctx context.Context, tenant string, keys []string) (map[string]bool, error)
	UseKeys(ctx context.Context, tenant string, keys []string) error
}

const (
	everyDefault  = 10 * time.Second
	settleDefault = 10 * time.Second
)

// ready is a plan whose texts were read.
type ready struct {
	SchedulePlan
	times         *timetable // nil: it watches
	every, settle time.Duration
	expires, keep time.Duration
	hasKeep       bool
}

// readPlan reads a plan and says what is wrong with it. No place is asked.
func readPlan(raw json.RawMessage) (*ready, error) {
	p := &ready{every: everyDefault, settle: settleDefault}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&p.SchedulePlan); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "the schedule cannot be read: %v", err).At("schedule")
	}
	switch {
	case (p.Cron == "") == (p.Watch == ""):
		return nil, serval.Errorf(serval.InvalidArgument, "give either cron, when jobs are to be made, or watch, of whose objects").At("cron")
	case p.Watch != "" && len(p.Job.Input) > 0:
		return nil, serval.Errorf(serval.InvalidArgument, "the objects of watch are the input; leave the job's out").At("input")
	case p.Watch != "" && onWeb(p.Watch) || strings.HasPrefix(p.Watch, "postgres"):
		return nil, serval.Errorf(serval.InvalidArgument, "watch takes a folder, a pattern or s3://bucket/prefix/, gs:// or azblob://").At("watch")
	case p.Watch == "" && (p.Every != "" || p.Settle != "" || p.Existing):
		return nil, serval.Errorf(serval.InvalidArgument, "every, settle and existing belong to watch").At("watch")
	case p.Watch != "" && p.Zone != "" && p.Cron == "" && !strings.Contains(p.Job.Output, "{"):
		return nil, serval.Errorf(serval.InvalidArgument, "time_zone belongs to cron, and to {date} and {time} in the output").At("time_zone")
	case p.Priority < 0 || p.Priority > 9:
		return nil, serval.Errorf(serval.InvalidArgument, "priority must be 1 to 9, not %d", p.Priority).At("priority")
	case p.Job.Output != "" && !p.Job.Restart && !strings.Contains(p.Job.Output, "{"):
		return nil, serval.Errorf(serval.InvalidArgument, "the second job would find the first one's output: put {date}, {time} or, with watch, {stem} into its name, or say restart to replace it").At("output")
	}
	if p.Priority == 0 {
		p.Priority = 5
	}
	expression := p.Cron
	if p.Watch != "" {
		expression = "@daily" // for the zone alone
	}
	times, err := parseCron(expression, p.Zone)
	if err != nil {
		return nil, err
	}
	p.times = times
	for _, d := range []struct {
		name, text string
		to         *time.Duration
		least      time.Duration
	}{{"every", p.Every, &p.every, time.Second}, {"settle", p.Settle, &p.settle, 0}, {"expires_in", p.ExpiresIn, &p.expires, 0}, {"keep", p.Keep, &p.keep, 0}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = time.ParseDuration(d.text); err != nil || *d.to < d.least {
			return nil, serval.Errorf(serval.InvalidArgument, "%s must be a duration such as 10s, not %.50q", d.name, d.text).At(d.name)
		}
	}
	p.hasKeep = p.Keep != ""
	spec, err := p.spec(time.Now(), sampleOf(p.Watch))
	if err == nil && p.Watch != "" {
		err = p.circle(spec)
	}
	return p, err
}

// sampleOf is a name that an object at a place may have.
func sampleOf(watch string) string {
	if strings.ContainsAny(watch, "*?[") {
		return below(path.Dir(watch), "sample"+path.Ext(watch))
	}
	return below(watch, "sample.csv")
}

// circle refuses an output that appears where its schedule watches: each job would make the next one.
func (p *ready) circle(raw json.RawMessage) error {
	s, err := readSpec(raw)
	if err != nil || s.Output == "" {
		return err
	}
	out := s.Output
	if s.Split {
		out = below(out, "part-00001"+path.Ext(s.Input[0]))
	}
	for _, name := range []string{out, out + ErrorsSuffix} {
		seen, _ := path.Match(p.Watch, name) // a wrong pattern finds nothing
		if seen || path.Dir(name) == strings.TrimSuffix(p.Watch, "/") && !strings.HasPrefix(path.Base(name), ".") {
			return serval.Errorf(serval.InvalidArgument, "%s would appear where the schedule watches (%s), and be the next input; write somewhere else", name, p.Watch).At("output")
		}
	}
	return nil
}

// spec is the job of one firing; object is what appeared, "" for a time.
func (p *ready) spec(at time.Time, object string) (json.RawMessage, error) {
	local := at.In(p.times.zone)
	words := map[string]string{"date": local.Format(time.DateOnly), "time": local.Format("20060102T150405")}
	if p.Watch != "" {
		name := baseOf(object)
		words["name"], words["stem"] = name, strings.TrimSuffix(name, endingOf(name))
		if words["stem"] == "" {
			words["stem"] = name
		}
	}
	s := p.Job
	var err error
	s.Input = make([]string, len(p.Job.Input))
	for i, in := range p.Job.Input {
		if s.Input[i], err = expand(in, words, "input"); err != nil {
			return nil, err
		}
	}
	if p.Watch != "" {
		s.Input = []string{literal(object)}
	}
	if s.Output, err = expand(s.Output, words, "output"); err != nil {
		return nil, err
	}
	raw := jsonOf(s)
	_, err = readSpec(raw)
	return raw, err
}

// expand puts words in for {word}; {{ and }} are braces.
func expand(text string, words map[string]string, param string) (string, error) {
	var b strings.Builder
	for text != "" {
		i := strings.IndexAny(text, "{}")
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		c := text[i : i+1]
		text = text[i+1:]
		if strings.HasPrefix(text, c) {
			b.WriteString(c)
			text = text[1:]
			continue
		}
		name, rest, ok := strings.Cut(text, "}")
		word, known := words[name]
		if c == "}" || !ok || !known {
			return "", serval.Errorf(serval.InvalidArgument, "%s: {%.30s} is not known here; there are {date} and {time}, with watch also {name} and {stem}, and {{ for a brace", param, name).At(param)
		}
		b.WriteString(word)
		text = rest
	}
	return b.String(), nil
}

// NewSchedule checks a plan, and makes a schedule of it that AddSchedule takes.
func NewSchedule(tenant, name string, plan json.RawMessage) (*Schedule, error) {
	p, err := readPlan(plan)
	if err != nil {
		return nil, err
	}
	if name == "" || len(name) > 100 || strings.ContainsAny(name, "/?#") || strings.HasPrefix(name, "sch_") || path.Clean(name) != name {
		return nil, serval.Errorf(serval.InvalidArgument, "the schedule's name %.50q must be a word of at most 100 bytes without /, ? and #", name).At("name")
	}
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	s := &Schedule{ID: "sch_" + hex.EncodeToString(b[:]), Tenant: tenant, Name: name, Plan: jsonOf(p.SchedulePlan)}
	if p.Watch == "" {
		s.Due = p.times.next(time.Now())
	}
	return s, nil
}

// timeKey and objectKey are the keys by which a job is made once, whoever makes it.
func (s *Schedule) timeKey(at time.Time) string {
	return "schedule:" + s.ID + ":" + at.UTC().Format(time.RFC3339)
}

func (s *Schedule) objectKey(o Object) string {
	sum := sha256.Sum256([]byte(o.Name() + "\x00" + o.Version()))
	return "schedule:" + s.ID + ":" + hex.EncodeToString(sum[:16])
}

// record is the job of a firing.
func (s *Schedule) record(p *ready, key string, at time.Time, object string, keep time.Duration) (*Record, error) {
	spec, err := p.spec(at, object)
	if err != nil {
		return nil, err
	}
	r := &Record{Tenant: s.Tenant, Kind: DataKind, Name: s.Name, Priority: p.Priority, Key: key, Spec: spec, Keep: keep}
	if p.hasKeep {
		r.Keep = p.keep
	}
	if p.expires > 0 {
		r.Expires = at.Add(p.expires)
	}
	return r, nil
}

// literal is the location of one object whose name may hold what patterns are made of.
func literal(object string) string {
	if !InBucket(object) {
		return object // a file of that name is found before the pattern
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(object)
}
