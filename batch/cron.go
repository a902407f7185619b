package batch

import (
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"serval"
)

// timetable is the times of a cron expression in a time zone. Times are the zone's wall clock; where that jumps, it is as in Vixie's
// cron: a time that is left out comes at the moment of the jump, one that comes twice comes the first time, and expressions whose
// minute or hour begins with * (every so often) go on by what really passes.
type timetable struct {
	spec *cron.SpecSchedule // in UTC: of wall clocks
	zone *time.Location
	wild bool
}

// parseCron reads an expression of five fields, or @hourly, @daily, @weekly, @monthly, @yearly.
func parseCron(expression, zone string) (*timetable, error) {
	if zone == "" {
		zone = "UTC"
	}
	z, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, serval.Errorf(serval.InvalidArgument, "time_zone %.50q is not known; write a name such as Europe/Berlin, or UTC", zone).At("time_zone")
	}
	wrong := func(why string) error {
		return serval.Errorf(serval.InvalidArgument, "cron %.100q: %s; write minute, hour, day of month, month and day of week, as in '30 2 * * *', or @hourly, @daily, @weekly, @monthly", expression, why).At("cron")
	}
	fields := strings.Fields(expression)
	macro := len(fields) == 1 && strings.HasPrefix(expression, "@")
	if len(expression) > 200 || !macro && len(fields) != 5 || strings.Contains(expression, "=") {
		return nil, wrong("it does not have five fields")
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(strings.Join(fields, " "))
	if err != nil {
		return nil, wrong(err.Error())
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, wrong("it is no time of day")
	}
	spec.Location = time.UTC
	t := &timetable{spec: spec, zone: z, wild: expression == "@hourly" || !macro && (fields[0][0] == '*' || fields[1][0] == '*')}
	if t.next(time.Unix(0, 0)).IsZero() {
		return nil, wrong("there is no such day")
	}
	return t, nil
}

// clock is what a wall clock shows, as a time in UTC.
func clock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// next is the first time after one; zero: there is none within five years.
func (t *timetable) next(after time.Time) time.Time {
	after = after.In(t.zone)
	if t.wild {
		return t.nextPassing(after)
	}
	for wall := clock(after); ; {
		if wall = t.spec.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if at := t.moment(wall); at.After(after) {
			return at
		}
	}
}

// moment is when the wall clock shows a time, for the first time; of one that is left out, when the clock jumps over it.
func (t *timetable) moment(wall time.Time) time.Time {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, t.zone)
	start, end := at.ZoneBounds()
	switch shown := clock(at); {
	case shown.After(wall):
		return start
	case shown.Before(wall):
		return end
	}
	if start.IsZero() {
		return at
	}
	// The same reading may have come before the clock was put back.
	before := start.Add(-time.Second)
	_, was := before.Zone()
	if _, is := at.Zone(); was > is {
		if first := at.Add(-time.Duration(was-is) * time.Second); first.Before(start) {
			return first
		}
	}
	return at
}

// nextPassing is the next time by what passes: within each stretch of one offset from UTC, the wall clock goes evenly.
func (t *timetable) nextPassing(after time.Time) time.Time {
	for from := after; ; {
		_, offset := from.Zone()
		_, end := from.ZoneBounds()
		wall := t.spec.Next(clock(from))
		if wall.IsZero() {
			return time.Time{}
		}
		at := wall.Add(-time.Duration(offset) * time.Second).In(t.zone)
		if end.IsZero() || at.Before(end) {
			if !at.After(after) {
				return time.Time{}
			}
			return at
		}
		// The moment of the jump itself is in the next stretch.
		_, offset = end.Zone()
		wall = t.spec.Next(clock(end).Add(-time.Second))
		if wall.IsZero() {
			return time.Time{}
		}
		at = wall.Add(-time.Duration(offset) * time.Second).In(t.zone)
		if _, stop := end.ZoneBounds(); stop.IsZero() || at.Before(stop) {
			return at
		}
		from = end
	}
}

// last is the last time up to now, not before from, which is one.
func (t *timetable) last(from, now time.Time) time.Time {
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 32 * 24 * time.Hour, 367 * 24 * time.Hour} {
		begin := now.Add(-back)
		if !begin.After(from) {
			break
		}
		at := t.next(begin)
		if at.IsZero() || at.After(now) {
			continue
		}
		from = at
		break
	}
	for {
		next := t.next(from)
		if next.IsZero() || next.After(now) {
			return from
		}
		from = next
	}
}
