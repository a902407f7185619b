package batch

import (
	"testing"
	"time"
)

func times(t *testing.T, expression, zone, after string, n int) (out []string) {
	t.Helper()
	c, err := parseCron(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, after)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		at = c.next(at)
		out = append(out, at.Format("01-02T15:04Z07:00"))
	}
	return out
}

// TestCronClock: what happens where the clock jumps. In Berlin it went from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00
// on 2026-10-25; on Lord Howe Island by half an hour.
func TestCronClock(t *testing.T) {
	for _, c := range []struct {
		expression, zone, after string
		want                    []string
	}{
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", []string{"03-28T02:30+01:00", "03-29T03:00+02:00", "03-30T02:30+02:00"}},
		{"0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"03-29T03:00+02:00", "03-30T03:00+02:00"}},
		{"10,40 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"03-29T03:00+02:00", "03-30T02:10+02:00", "03-30T02:40+02:00"}},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"10-25T02:30+02:00", "10-26T02:30+01:00"}},
		{"30 1-3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"10-25T01:30+02:00", "10-25T02:30+02:00", "10-25T03:30+01:00", "10-26T01:30+01:00"}},
		{"*/30 * * * *", "Europe/Berlin", "2026-03-29T00:20:00Z", []string{"03-29T01:30+01:00", "03-29T03:00+02:00", "03-29T03:30+02:00"}},
		{"*/30 * * * *", "Europe/Berlin", "2026-10-25T00:20:00Z", []string{"10-25T02:30+02:00", "10-25T02:00+01:00", "10-25T02:30+01:00", "10-25T03:00+01:00"}},
		{"0 */2 * * *", "Europe/Berlin", "2026-03-28T23:30:00Z", []string{"03-29T04:00+02:00", "03-29T06:00+02:00"}},
		{"@hourly", "Europe/Berlin", "2026-10-25T00:10:00Z", []string{"10-25T02:00+01:00", "10-25T03:00+01:00"}},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"10-04T02:30+11:00", "10-05T02:15+11:00"}},
		{"45 1 * * *", "Australia/Lord_Howe", "2026-04-03T20:00:00Z", []string{"04-05T01:45+11:00", "04-06T01:45+10:30"}},
		{"0 0 29 2 *", "", "2026-01-01T00:00:00Z", []string{"02-29T00:00Z"}},
		{"0 12 13 * FRI", "UTC", "2026-11-01T00:00:00Z", []string{"11-06T12:00Z", "11-13T12:00Z", "11-20T12:00Z"}},
		{"@monthly", "America/New_York", "2026-11-27T00:00:00Z", []string{"12-01T00:00-05:00", "01-01T00:00-05:00"}},
	} {
		got := times(t, c.expression, c.zone, c.after, len(c.want))
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s in %s: %v, want %v", c.expression, c.zone, got, c.want)
				break
			}
		}
	}
}

// TestCronSteps holds next against a walk over all minutes of two years, in zones that jump: each time comes once and in order.
func TestCronSteps(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"} {
		z, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		fixed, err := parseCron("30 2 * * *", zone)
		if err != nil {
			t.Fatal(err)
		}
		often, err := parseCron("*/20 * * * *", zone)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := time.Date(2011, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2012, 12, 1, 0, 0, 0, 0, time.UTC)
		nextOften, days := often.next(begin.Add(-time.Second)), map[string]int{}
		for at := begin; at.Before(end); at = at.Add(5 * time.Minute) {
			local := at.In(z)
			if local.Minute()%20 == 0 != nextOften.Equal(at) {
				t.Fatalf("%s: at %v the next of */20 is %v", zone, local, nextOften)
			}
			if nextOften.Equal(at) {
				nextOften = often.next(at)
			}
		}
		for at := fixed.next(begin); at.Before(end); {
			days[at.Format(time.DateOnly)]++
			next := fixed.next(at)
			if !next.After(at) {
				t.Fatalf("%s: %v after %v", zone, next, at)
			}
			at = next
		}
		for day, n := range days {
			if n != 1 && day != "2011-12-31" { // Apia had no day before it
				t.Errorf("%s: %d times on %s", zone, n, day)
			}
		}
		if len(days) < 364 {
			t.Errorf("%s: %d days", zone, len(days))
		}
	}
}

func TestCronLast(t *testing.T) {
	c, err := parseCron("0 3 * * *", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	due := time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC)
	for now, want := range map[string]string{"2026-01-01T03:00:00Z": "2026-01-01", "2026-01-02T02:59:59Z": "2026-01-01", "2026-03-04T04:00:00Z": "2026-03-04", "2031-03-04T02:00:00Z": "2031-03-03"} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.last(due, at); got.Format(time.DateOnly) != want || got.Hour() != 3 {
			t.Errorf("at %s the last was %v, want %s", now, got, want)
		}
	}
}

func TestCronMistakes(t *testing.T) {
	for _, bad := range [][2]string{{"", ""}, {"* * * *", ""}, {"* * * * * *", ""}, {"60 * * * *", ""}, {"@every 1s", ""}, {"@reboot", ""}, {"TZ=UTC 1 1 * * *", ""}, {"0 0 30 2 *", ""},
		{"0 0 * * *", "Berlin"}, {"0 0 * * *", "../../etc/passwd"}, {"0 0 * * *", "Local"}} {
		if _, err := parseCron(bad[0], bad[1]); err == nil {
			t.Errorf("%q in %q was taken", bad[0], bad[1])
		}
	}
}

// FuzzCron: whatever is taken has times that ascend.
func FuzzCron(f *testing.F) {
	f.Add("30 2 * * *", "Europe/Berlin")
	f.Add("*/7 1-3,5 */2 JAN-MAR mon", "Australia/Lord_Howe")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		c, err := parseCron(expression, zone)
		if err != nil {
			return
		}
		at := time.Unix(1774600000, 0)
		for range 20 {
			next := c.next(at)
			if next.IsZero() {
				return
			}
			if !next.After(at) {
				t.Fatalf("%v after %v", next, at)
			}
			at = next
		}
	})
}
