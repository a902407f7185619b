package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
)

// result is a message of a lane of topic t.
func result(lane *stream.Lane, offset int64, value string) *stream.Message {
	return &stream.Message{
		Key: fmt.Appendf(nil, "k%d", offset), Value: []byte(value), Lane: lane, Time: time.Unix(1764280000, 5e6),
		Position: stream.Position{Topic: "t", Offset: offset}, Headers: []stream.Header{{Key: "colour", Value: []byte("red")}, {Key: "colour", Value: []byte("blue")}},
	}
}

func (s sink) open(t *testing.T, table string, once bool, change func(*TargetOptions)) *target {
	t.Helper()
	o := defaults()
	o.URL, o.Table = s.db.URL, table
	if change != nil {
		change(o)
	}
	to, err := Broker{}.Target(t.Context(), o, stream.Env{Stream: table, Once: once})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	return to.(*target)
}

// rows is a query's answer, a line of text each.
func (s sink) rows(t *testing.T, sql string) (list []string) {
	t.Helper()
	c := s.connect(t)
	defer func() { _ = c.Close(context.Background()) }()
	rows, err := c.Query(context.Background(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		list = append(list, line)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return list
}

func failedOf(t *testing.T, err error) map[int]error {
	t.Helper()
	if err == nil {
		return nil
	}
	var partly *stream.WriteError
	if !errors.As(err, &partly) {
		t.Fatal(err)
	}
	return partly.Failed
}

func TestWrite(t *testing.T) {
	s := sink{testkit.Postgres(t)}
	lane := stream.NewLane("t/0", nil)
	t.Run("Mapping", func(t *testing.T) { mapping(t, s, lane) })
	t.Run("Usual", func(t *testing.T) { usualColumns(t, s, lane) })
	t.Run("Upsert", func(t *testing.T) { upsert(t, s, lane) })
	t.Run("Refused", func(t *testing.T) { refused(t, s, lane) })
	t.Run("RefusedOnce", func(t *testing.T) { refusedOnce(t, s, lane) })
	t.Run("Table", func(t *testing.T) { missingTable(t, s, lane) })
	t.Run("Zombie", func(t *testing.T) { zombie(t, s) })
	t.Run("Hung", func(t *testing.T) { hung(t, s) })
	t.Run("Ids", func(t *testing.T) { ids(t, s) })
}

// mapping: every kind of origin and of column.
func mapping(t *testing.T, s sink, lane *stream.Lane) {
	s.exec(t, `CREATE TABLE mapped (id serial, key bytea, whole jsonb, topic varchar(3), "offset" bigint, at timestamptz, heads json, colour text, none text,
		score real, yes boolean, list double precision[], words text[], deep int, made int GENERATED ALWAYS AS (deep + 1) STORED, code char(2))`)
	to := s.open(t, "public.mapped", false, func(o *TargetOptions) {
		o.Columns = map[string]string{"key": "$key", "whole": "$value", "topic": "$topic", "offset": "$offset", "at": "$time", "heads": "$headers", "colour": "$header.colour",
			"none": "$header.none", "score": "prediction.score", "yes": "yes", "list": "list", "words": "words", "deep": "outputs.1.data.0", "code": "code"}
	})
	value := `{"yes":true,"list":[1,2.5,null],"words":["a \"b\"","c\\,{}","\u00e9"],"prediction":{"score":0.25},"outputs":[{},{"data":[7]}],"code":"x"}`
	if err := to.Write(t.Context(), []*stream.Message{result(lane, 5, value)}); err != nil {
		t.Fatal(err)
	}
	got := s.rows(t, `SELECT concat_ws('|', id, encode(key, 'escape'), whole->>'code', topic, "offset", to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS'), heads->>'colour', colour,
		none IS NULL, score, yes, list, words, words[2], deep, made, code) FROM mapped`)
	want := `1|k5|x|t|5|2025-11-27T21:46:40.005|red|red|t|0.25|t|{1,2.5,NULL}|{"a \"b\"","c\\,{}",é}|c\,{}|7|8|x `
	if len(got) != 1 || got[0] != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), want)
	}
}

// usualColumns: without a mapping columns take the members of their names, and what is not there is left to the defaults.
func usualColumns(t *testing.T, s sink, lane *stream.Lane) {
	s.exec(t, `CREATE TABLE usual (id bigint GENERATED ALWAYS AS IDENTITY, score real DEFAULT 9, applicant int, note text DEFAULT 'none', _offset bigint, extra jsonb)`)
	to := s.open(t, "usual", false, nil)
	list := []*stream.Message{
		result(lane, 1, `{"applicant":1,"prediction":{"score":0.5},"model":"m"}`), result(lane, 2, `{"applicant":2,"score":0.75,"prediction":{"score":0.1},"note":null}`),
		result(lane, 3, `{"applicant":3,"extra":{"a":[1]}}`), result(lane, 4, `[1]`),
	}
	failed := failedOf(t, to.Write(t.Context(), list))
	if len(failed) != 0 { // _offset has a value whatever the message is
		t.Errorf("%v", failed)
	}
	got := s.rows(t, `SELECT concat_ws('|', score, applicant, coalesce(note, 'NULL'), _offset, extra) FROM usual ORDER BY _offset`)
	want := []string{"0.5|1|none|1", "0.75|2|NULL|2", `9|3|none|3|{"a": [1]}`, "9|none|4"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// upsert: the last result of a key stays, also where one batch has it often.
func upsert(t *testing.T, s sink, lane *stream.Lane) {
	s.exec(t, `CREATE TABLE upserted (applicant int, region text, score int, first int DEFAULT 1, PRIMARY KEY (region, applicant))`)
	to := s.open(t, "upserted", false, func(o *TargetOptions) { o.Key = []string{"applicant", "region"} })
	var list []*stream.Message
	for i := range 3000 {
		list = append(list, result(lane, int64(i), fmt.Sprintf(`{"applicant":%d,"region":"r","score":%d}`, i%7, i)))
	}
	list = append(list, result(lane, 3000, `{"applicant":"01","region":"r","score":-1}`), result(lane, 3001, `{"region":"r","score":-1}`), result(lane, 3002, `{"applicant":null,"region":"r"}`))
	for range 2 {
		failed := failedOf(t, to.Write(t.Context(), list))
		if keys := slices.Sorted(maps.Keys(failed)); !slices.Equal(keys, []int{3001, 3002}) || !stream.IsPermanent(failed[3001]) || !strings.Contains(failed[3001].Error(), "'applicant'") {
			t.Errorf("failed: %v", failed)
		}
	}
	got := s.rows(t, `SELECT concat_ws('|', applicant, score) FROM upserted ORDER BY applicant`)
	if want := []string{"0|2996", "1|-1", "2|2998", "3|2999", "4|2993", "5|2994", "6|2995"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	bad := s.open(t, "upserted", false, func(o *TargetOptions) { o.Key = []string{"applicant"} })
	if err := bad.Write(t.Context(), list[:1]); err == nil || stream.IsPermanent(err) || !strings.Contains(err.Error(), "unique index") {
		t.Errorf("a key without an index: %v", err)
	}
}

// refused: rows that the table refuses fail alone, each with its reason.
func refused(t *testing.T, s sink, lane *stream.Lane) {
	s.exec(t, `CREATE TABLE refused (n int PRIMARY KEY CHECK (n <> 300), day date, name varchar(4) NOT NULL DEFAULT 'x')`)
	to := s.open(t, "refused", false, nil)
	var list []*stream.Message
	for i := range 2500 {
		list = append(list, result(lane, int64(i), fmt.Sprintf(`{"n":%d,"day":"2026-11-27"}`, i)))
	}
	bad := map[int]string{
		7: `{"n":"seven"}`, 8: `{"n":99999999999}`, 300: `{"n":300}`, 301: `{"n":12}`, 1200: `{"n":1200,"day":"2026-13-01"}`, 1201: `{"n":1201,"name":"too long"}`,
		1202: `{"n":1202,"name":null}`, 1203: `{"n":1203,"name":"a\u0000b"}`, 2000: `not JSON`, 2001: `{"other":1}`, 2499: `{"n":{"a":1}}`,
	}
	for i, v := range bad {
		list[i].Value = []byte(v)
	}
	failed := failedOf(t, to.Write(t.Context(), list))
	for i := range bad {
		if err := failed[i]; !stream.IsPermanent(err) || serval.AsError(err).Code != serval.InvalidArgument {
			t.Errorf("%s: %v", bad[i], err)
		}
	}
	if len(failed) != len(bad) {
		t.Errorf("%d failed, not %d", len(failed), len(bad))
	}
	if got := s.rows(t, `SELECT count(*)::text FROM refused`); got[0] != fmt.Sprint(2500-len(bad)) {
		t.Errorf("%s rows", got)
	}
}

// refusedOnce: with positions, what stands behind a row that fails is written only when asked again: by then its dead letter is.
func refusedOnce(t *testing.T, s sink, lane *stream.Lane) {
	s.exec(t, `CREATE TABLE refused_once (n int)`)
	other := stream.NewLane("t/1", nil)
	to := s.open(t, "refused_once", true, nil)
	list := []*stream.Message{
		result(lane, 0, `{"n":0}`), result(other, 10, `{"n":10}`), result(lane, 1, `{"n":"x"}`), result(other, 11, `{"n":11}`), result(lane, 2, `{"n":2}`), result(lane, 3, `{"n":"y"}`),
	}
	failed := failedOf(t, to.Write(t.Context(), list))
	if !stream.IsPermanent(failed[2]) || !stream.IsPermanent(failed[5]) || !errors.Is(failed[4], stream.ErrBehind) || len(failed) != 3 {
		t.Errorf("%v", failed)
	}
	if got := s.rows(t, `SELECT n::text FROM refused_once ORDER BY n`); !slices.Equal(got, []string{"0", "10", "11"}) {
		t.Errorf("%q", got)
	}
	where := `SELECT lane || '=' || next FROM serval_positions WHERE stream = 'refused_once' ORDER BY lane`
	if got := s.rows(t, where); !slices.Equal(got, []string{"t/0=1", "t/1=12"}) {
		t.Errorf("%q", got)
	}
	if err := to.Write(t.Context(), list[4:5]); err != nil {
		t.Error(err)
	}
	if got := s.rows(t, where); !slices.Equal(got, []string{"t/0=3", "t/1=12"}) {
		t.Errorf("%q", got)
	}
}

// missingTable: what is wrong with the table is said, and tried again, not the messages' fault; it may change while it is used.
func missingTable(t *testing.T, s sink, lane *stream.Lane) {
	to := s.open(t, "later", false, func(o *TargetOptions) { o.Columns = map[string]string{"n": "n", "b": "b", "a": "a"} })
	list := []*stream.Message{result(lane, 0, `{"n":1,"a":2,"b":3}`)}
	for _, step := range []struct{ says, sql string }{
		{"no table later", `CREATE TABLE later (n int, c int)`}, {"no column a, b", `ALTER TABLE later ADD a int, ADD b int`},
		{"", `ALTER TABLE later DROP b`}, {`"b"`, ``}, {"no column b", `ALTER TABLE later ADD b text`}, {"", ``},
	} {
		err := to.Write(t.Context(), list)
		if stream.IsPermanent(err) || (err == nil) != (step.says == "") || err != nil && !strings.Contains(err.Error(), step.says) {
			t.Errorf("%q: %v", step.says, err)
		}
		if step.sql != "" {
			s.exec(t, step.sql)
		}
	}
	if got := s.rows(t, `SELECT concat_ws('|', n, a, b) FROM later`); !slices.Equal(got, []string{"1|2", "1|2|3"}) {
		t.Errorf("%q", got)
	}
	wrong := s.open(t, "later", false, func(o *TargetOptions) { o.URL = strings.Replace(o.URL, "/postgres?", "/none?", 1) })
	if err := wrong.Write(t.Context(), list); err == nil || stream.IsPermanent(err) {
		t.Errorf("another database: %v", err)
	}
}

// zombie: workers that do not know that they lost a lane write beside the one that has it; each row is there once, whatever they do.
func zombie(t *testing.T, s sink) {
	s.exec(t, `CREATE TABLE zombies (lane text, n int, worker int)`)
	const rows, workers, lanes, step = 400, 4, 3, 20
	var targets []*target
	var own [workers][lanes]*stream.Lane
	for w := range workers {
		targets = append(targets, s.open(t, "zombies", true, func(o *TargetOptions) {
			o.Columns = map[string]string{"lane": "lane", "n": "n", "worker": "worker"}
		}))
		for l := range lanes {
			own[w][l] = stream.NewLane(fmt.Sprintf("t/%d", l), nil)
		}
	}
	write := func(w, from, to int) { // each in an order of lanes of its own
		var list []*stream.Message
		for n := from; n < min(rows, to); n++ {
			for l := range lanes {
				lane := (l + w) % lanes
				list = append(list, result(own[w][lane], int64(n), fmt.Sprintf(`{"lane":"%d","n":%d,"worker":%d}`, lane, n, w)))
			}
		}
		if err := targets[w].Write(context.Background(), list); err != nil {
			t.Error(err)
		}
	}
	for round := range rows / step {
		from := round * step
		write(round%workers, from, from+step/2)
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() { write(w, max(0, from-w), from+step+w) })
		}
		all.Wait()
	}
	got := s.rows(t, `SELECT concat_ws('|', count(*), count(DISTINCT (lane, n)), count(DISTINCT worker)) FROM zombies`)
	if want := fmt.Sprintf("%d|%d|%d", rows*lanes, rows*lanes, workers); got[0] != want {
		t.Errorf("%s, not %s", got[0], want)
	}
}

// hung: a worker that hangs in the middle of a transaction holds up the next owner of its lane only as long as a transaction may
// last, and writes nothing any more.
func hung(t *testing.T, s sink) {
	s.exec(t, `CREATE TABLE hung (n int)`)
	lane := stream.NewLane("t/0", nil)
	change := func(o *TargetOptions) { o.Timeout = 2 * time.Second }
	first, second := s.open(t, "hung", true, change), s.open(t, "hung", true, change)
	list := []*stream.Message{result(lane, 0, `{"n":0}`), result(lane, 1, `{"n":1}`)}
	if err := first.Write(t.Context(), list[:1]); err != nil {
		t.Fatal(err)
	}
	tx, err := first.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.pos.fresh(t.Context(), tx, list[1:]); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; { // as the worker does
		if err = second.Write(t.Context(), list); err == nil || time.Now().After(end) {
			break
		}
		if stream.IsPermanent(err) {
			t.Errorf("while it hangs: %v", err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("the hung transaction is committed")
	}
	if err := first.Write(t.Context(), list); err != nil {
		t.Error(err)
	}
	if got := s.rows(t, `SELECT n::text FROM hung ORDER BY n`); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("%q", got)
	}
}

// ids: messages that stand in no order are known by their ids.
func ids(t *testing.T, s sink) {
	s.exec(t, `CREATE TABLE with_ids (n int)`)
	to := s.open(t, "with_ids", true, nil)
	list := make([]*stream.Message, 0, 8)
	for i := range 6 {
		m := result(nil, int64(i), fmt.Sprintf(`{"n":%d}`, i))
		if i < 4 {
			m.Position.ID = fmt.Sprintf("id-%d", i%3) // one comes twice
		}
		list = append(list, m)
	}
	list[2].Value = []byte(`{"n":"x"}`)
	for range 2 {
		if failed := failedOf(t, to.Write(t.Context(), list)); len(failed) != 1 || !stream.IsPermanent(failed[2]) {
			t.Errorf("%v", failed)
		}
	}
	if got := s.rows(t, `SELECT n::text FROM with_ids ORDER BY n`); !slices.Equal(got, []string{"0", "1", "4", "5"}) {
		t.Errorf("%q", got)
	}
	s.exec(t, `UPDATE serval_positions_ids SET at = now() - interval '8 days' WHERE id = 'id-0'`)
	again := s.open(t, "with_ids", true, nil)
	if failed := failedOf(t, again.Write(t.Context(), list[1:2])); len(failed) != 0 {
		t.Error(failed)
	}
	if got := s.rows(t, `SELECT count(*)::text FROM serval_positions_ids WHERE stream = 'with_ids'`); got[0] != "3" { // id-1 and two offsets
		t.Errorf("%s ids are remembered", got)
	}
}

func TestCheck(t *testing.T) {
	for what, change := range map[string]func(*TargetOptions){
		"url": func(o *TargetOptions) { o.URL = "mysql://h/d" }, "url ": func(o *TargetOptions) { o.URL = "postgres://u:geheim@h:port/d" },
		"table": func(o *TargetOptions) { o.Table = "" }, "columns": func(o *TargetOptions) { o.Columns = map[string]string{"a": "$what"} },
		"key": func(o *TargetOptions) { o.Columns, o.Key = map[string]string{"a": "a"}, []string{"b"} }, "timeout": func(o *TargetOptions) { o.Timeout = 0 },
	} {
		o := defaults()
		o.URL, o.Table = "postgres://u:geheim@h/d", "t"
		change(o)
		err := Broker{}.Check(o)
		if serval.AsError(err).Code != serval.InvalidArgument || serval.AsError(err).Param != strings.TrimSpace(what) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", what, err)
		}
	}
	o := defaults()
	o.URL, o.Table = "postgres://u:geheim@h/d", "s.t"
	if say := (Broker{}).Say(o); say != "postgres h:5432/d table s.t" {
		t.Error(say)
	}
}

func FuzzRow(f *testing.F) {
	for _, v := range []string{`{"a":1,"b":[1,[2,"x"]],"prediction":{"c":null}}`, `[1]`, `{`, `"x"`, `{"b":[[[[[[[1]]]]]]]}`, "\x00"} {
		f.Add([]byte(v))
	}
	tab := &table{opt: &TargetOptions{Table: "t"}, columns: []column{{name: "a", kind: "integer", from: usual("a")},
		{name: "b", kind: "text[]", array: true, from: usual("b")}, {name: "c", kind: "bytea", from: origin{path: []string{"b", "1", "0"}}}}}
	f.Fuzz(func(t *testing.T, v []byte) {
		r, err := tab.row(0, &stream.Message{Value: v})
		if err == nil && len(r.values) != 3 {
			t.Error(r)
		}
	})
}
