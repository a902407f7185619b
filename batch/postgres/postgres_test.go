package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"serval"
	"serval/batch"
	"serval/internal/column/columntest"
	"serval/internal/testkit"
)

type database struct {
	*testkit.Database
	t *testing.T
}

func start(t *testing.T) *database { return &database{testkit.Postgres(t), t} }

func (d *database) exec(sql string) {
	d.t.Helper()
	c, err := pgx.Connect(d.t.Context(), d.URL)
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Exec(d.t.Context(), sql); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

func (d *database) text(sql string) (s string) {
	d.t.Helper()
	c, err := pgx.Connect(d.t.Context(), d.URL)
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(d.t.Context(), sql).Scan(&s); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return s
}

// at is a location in the database: name, value, …
func (d *database) at(settings ...string) string {
	s := d.URL
	for i := 0; i < len(settings); i += 2 {
		s += "&" + settings[i] + "=" + url.QueryEscape(settings[i+1])
	}
	return s
}

func (d *database) open(location string) (batch.Reader, error) {
	d.t.Helper()
	found, err := Places{}.Locate(d.t.Context(), location)
	if err != nil {
		return nil, err
	}
	r, err := Format{}.Open(d.t.Context(), found[0], nil)
	if err == nil {
		d.t.Cleanup(func() { _ = r.Close() })
	}
	return r, err
}

func code(err error) serval.Code {
	var e *serval.Error
	if !errors.As(err, &e) {
		return serval.Internal
	}
	return e.Code
}

// read reads all rows, with another reader after each again blocks, and calls between before that.
func (d *database) read(location string, columns []batch.Column, n, again int, between func()) (map[string][]any, []batch.Bad) {
	d.t.Helper()
	r, err := d.open(location)
	if err != nil {
		d.t.Fatal(err)
	}
	if columns == nil {
		columns = r.Columns()
	}
	if err := r.Select(columns, nil); err != nil {
		d.t.Fatal(err)
	}
	out, row := map[string][]any{}, int64(1)
	var bad []batch.Bad
	var b batch.Block
	for k := 1; ; k++ {
		if err := r.Read(d.t.Context(), &b, n); err == io.EOF {
			return out, bad
		} else if err != nil {
			d.t.Fatal(err)
		}
		if b.First != row {
			d.t.Fatalf("a block from %d on, %d expected", b.First, row)
		}
		row += int64(b.Rows)
		bad = append(bad, b.Bad...)
		for i := range b.Vectors {
			out[columns[i].Name] = append(out[columns[i].Name], columntest.Column(&b.Vectors[i], b.Rows-len(b.Bad))...)
		}
		if between != nil {
			between()
		}
		if again > 0 && k%again == 0 {
			m := slices.Clone(r.Mark())
			if err := r.Close(); err != nil {
				d.t.Fatal(err)
			}
			if r, err = d.open(location); err != nil {
				d.t.Fatal(err)
			}
			if err := r.Select(columns, m); err != nil {
				d.t.Fatal(err)
			}
		}
	}
}

const table = `CREATE TABLE public.loans AS SELECT i::bigint AS id, 'k' || lpad((i * 7919 % 100003)::text, 7, '0') AS code, md5(i::text)::uuid AS u,
	(i * 0.5)::real AS f4, CASE WHEN i % 10 = 0 THEN NULL ELSE i / 3.0::float8 END AS f8, (i % 300)::smallint AS small, i::int AS whole, i % 3 = 0 AS flag,
	(i / 100.0)::numeric(12,2) AS money, 'text "' || i || '" \ ' || chr(228) AS words, DATE '2020-01-31' + i AS day,
	TIMESTAMPTZ '2020-01-01 00:00:00.25+00' + i * interval '1 hour' AS moment, ARRAY[i, NULL, i * 2]::float8[] AS list, ARRAY[i, 1]::real[] AS pair,
	ARRAY['a,b', 'c"d', NULL, ''] AS texts, ('{"a": ' || i || '}')::jsonb AS doc FROM generate_series(1, 3000) i;
	ALTER TABLE public.loans ADD PRIMARY KEY (id)`

func TestReads(t *testing.T) {
	d := start(t)
	d.exec(table)
	want := map[string][]any{}
	for i := 1; i <= 3000; i++ {
		whole := func(v int) any { return map[string]any{"int": fmt.Sprint(v)} }
		add := func(name string, v any) { want[name] = append(want[name], v) }
		add("id", whole(i))
		add("small", whole(i%300))
		add("whole", whole(i))
		add("flag", i%3 == 0)
		add("f4", float64(float32(i)*0.5))
		if i%10 == 0 {
			add("f8", nil)
		} else {
			add("f8", float64(i)/3)
		}
		add("money", fmt.Sprintf("%d.%02d", i/100, i%100))
		add("words", fmt.Sprintf(`text "%d" \ ä`, i))
		add("list", []any{float64(i), nil, float64(2 * i)})
		add("pair", []any{float64(i), 1.0})
		add("texts", []any{"a,b", `c"d`, nil, ""})
		add("doc", fmt.Sprintf(`{"a": %d}`, i))
	}
	var columns []batch.Column
	for name := range want {
		columns = append(columns, batch.Column{Name: name})
	}
	r, err := d.open(d.at("table", "public.loans"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range columns {
		at := slices.IndexFunc(r.Columns(), func(c batch.Column) bool { return c.Name == columns[i].Name })
		columns[i] = r.Columns()[at]
	}
	got, bad := d.read(d.at("table", "public.loans"), columns, 700, 0, nil)
	columntest.Compare(t, "a table", got, want)
	if len(bad) > 0 {
		t.Error(bad)
	}
	got, _ = d.read(d.at("query", "SELECT * FROM loans WHERE id > 0;", "key", "id"), columns, 333, 1, nil)
	columntest.Compare(t, "a query, in pieces", got, want)

	// Whatever rows are ordered by, none is lost and none comes twice.
	for _, key := range []string{"code", "u", "f4", "moment", "day", "money", "words"} {
		id := []batch.Column{{Name: "id", Type: serval.Int64}}
		whole, _ := d.read(d.at("table", "loans", "key", key), id, 5000, 0, nil)
		parts, _ := d.read(d.at("table", "loans", "key", key), id, 97, 1, nil)
		if len(whole["id"]) != 3000 {
			t.Errorf("by %s: %d rows", key, len(whole["id"]))
		}
		columntest.Compare(t, "by "+key, parts, whole)
	}
	// A server that crashes and comes back costs no row, within one reader.
	crashes := 0
	got, _ = d.read(d.at("table", "loans"), columns, 400, 0, func() {
		if crashes++; crashes%3 == 0 {
			d.Kill()
			d.Start()
		}
	})
	columntest.Compare(t, "with crashes", got, want)
}

func TestConverts(t *testing.T) {
	d := start(t)
	d.exec(`CREATE TABLE v (id int PRIMARY KEY, big bigint, f float8, txt text, a float4[]);
		INSERT INTO v VALUES (1, 5, 1.5, '2.5', '{1,2}'), (2, 300, 2, 'x', '{1}'), (3, 7, 1e300, '4', '{3,NULL}'), (4, 8, 3, '5', '[2:3]={5,6}')`)
	columns := []batch.Column{{Name: "big", Type: serval.Uint8}, {Name: "f", Type: serval.FP32}, {Name: "txt", Type: serval.FP32}, {Name: "a", Type: serval.FP32, Shape: []int64{2}}}
	got, bad := d.read(d.at("table", "v"), columns, 100, 0, nil)
	whole := func(v int) any { return map[string]any{"int": fmt.Sprint(v)} }
	columntest.Compare(t, "rows that fit", got, map[string][]any{"big": {whole(5), whole(8)}, "f": {1.5, 3.0}, "txt": {2.5, 5.0}, "a": {[]any{1.0, 2.0}, []any{5.0, 6.0}}})
	if len(bad) != 2 || bad[0].Row != 2 || bad[0].Column != "big" || bad[1].Row != 3 || bad[1].Column != "f" {
		t.Errorf("%+v", bad)
	}
}

func TestRefuses(t *testing.T) {
	d := start(t)
	d.exec(`CREATE TABLE twice (id int, x real); INSERT INTO twice VALUES (1, 1), (2, 2), (2, 3);
		CREATE TABLE gaps (id int, x real); INSERT INTO gaps VALUES (1, 1), (NULL, 2); CREATE ROLE weak LOGIN`)
	for location, want := range map[string]string{
		d.at("table", "twice"):                             "key=",
		d.at("query", "SELECT * FROM twice"):               "key=",
		d.at("table", "none"):                              "none",
		d.at("query", "SELECT id FROM twice", "key", "x"):  "no column 'x'",
		d.at("query", "SELECT 1 AS a, 2 AS a", "key", "a"): "AS",
		d.at("query", "SELECT * FROM twice WHERE id=$1"):   "parameters",
		d.at("query", "SELECT", "table", "twice"):          "either",
		d.at("query", "SELECT * FROM"):                     "syntax",
	} {
		_, err := d.open(location)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || code(err) == serval.Internal {
			t.Errorf("%s: %v, without %q", location, err, want)
		}
	}
	d.exec("CREATE FUNCTION grow() RETURNS int LANGUAGE sql AS 'INSERT INTO gaps VALUES (9, 9) RETURNING id'")
	if r, err := d.open(d.at("query", "SELECT grow() AS id", "key", "id")); err == nil {
		if err := r.Select(r.Columns(), nil); err != nil {
			t.Fatal(err)
		}
		if err := r.Read(t.Context(), &batch.Block{}, 10); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("a query that writes: %v", err)
		}
	}
	for name, want := range map[string]string{"twice": "two rows", "gaps": "null"} {
		r, err := d.open(d.at("table", name, "key", "id"))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Select(r.Columns(), nil); err != nil {
			t.Fatal(err)
		}
		var b batch.Block
		if err := r.Read(t.Context(), &b, 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Places{}).Locate(t.Context(), "postgres://u:secret@h:x/d"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	r, err := d.open(strings.Replace(d.at("table", "gaps", "key", "id"), "serval@", "weak:secret@", 1))
	if err == nil {
		if err = r.Select(r.Columns(), nil); err == nil {
			err = r.Read(t.Context(), &batch.Block{}, 10)
		}
	}
	if code(err) != serval.PermissionDenied || strings.Contains(err.Error(), "secret") {
		t.Errorf("a table that may not be read: %v", err)
	}
	down := strings.Replace(d.at("table", "twice"), fmt.Sprint(d.Port), "1", 1)
	if _, err := d.open(down); code(err) != serval.Unavailable {
		t.Errorf("a server that is not there: %v", err)
	}
}

func scores(n int) ([]batch.Vector, int) {
	id := batch.Vector{Name: "id", DType: serval.Int64}
	score := batch.Vector{Name: "score", DType: serval.FP32}
	label := batch.Vector{Name: "label", DType: serval.Bytes, Null: make([]bool, n)}
	list := batch.Vector{Name: "list", DType: serval.Bytes, Shape: []int64{2}}
	for i := range n {
		id.Data = binary.LittleEndian.AppendUint64(id.Data, uint64(i))
		score.Data = binary.LittleEndian.AppendUint32(score.Data, math.Float32bits(float32(i)/2))
		if label.Null[i] = i%4 == 3; label.Null[i] {
			label.Data = serval.AppendString(label.Data, "")
		} else {
			label.Data = serval.AppendString(label.Data, "a\t\\N\n\"ä\x00"+fmt.Sprint(i))
		}
		list.Data = serval.AppendString(serval.AppendString(list.Data, `x"\`), "NULL")
	}
	return []batch.Vector{id, score, label, list}, n
}

func TestTarget(t *testing.T) {
	d := start(t)
	path := filepath.Join(t.TempDir(), "rows")
	vectors, n := scores(1000)
	w, err := Format{}.Create(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(columntest.Slice(vectors, 0, 300), 300); err != nil {
		t.Fatal(err)
	}
	m, err := w.Sync()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(columntest.Slice(vectors, 300, 400), 100); err != nil { // and it is killed
		t.Fatal(err)
	}
	if w, err = (Format{}).Create(path, slices.Clone(m), nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(columntest.Slice(vectors, 300, n), n-300), w.Close()); err != nil {
		t.Fatal(err)
	}
	target := func(settings ...string) batch.Target {
		at, err := Places{}.Target(t.Context(), d.at(settings...))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	sum := func(table string) string {
		return d.text("SELECT count(*) || ' ' || sum(id) || ' ' || sum(score) || ' ' || count(label) || ' ' || min(label) || ' ' || max(list::text) FROM " + table)
	}
	const want = "1000 499500 249750 750 a\t\\N\n\"ä\ufffd0 {\"x\\\"\\\\\",\"NULL\"}"

	// Without a key the rows become the table's.
	whole := target("table", "scored")
	for range 2 { // also after a kill
		if err := whole.Publish(t.Context(), path, ""); err != nil {
			t.Fatal(err)
		}
		if got := sum("scored"); got != want {
			t.Errorf("%q, expected %q", got, want)
		}
	}
	if there, err := whole.Exists(t.Context()); !there || err != nil {
		t.Error(there, err)
	}

	// With one, rows take the place of those that have it, and others stay.
	d.exec(`CREATE TABLE kept (id bigint PRIMARY KEY, score double precision, label varchar, list text[], more text);
		INSERT INTO kept VALUES (5, -1, 'old', NULL, 'stays'), (5000, 7, 'other', NULL, NULL)`)
	keyed := target("table", "public.kept", "key", "id")
	if there, err := keyed.Exists(t.Context()); there || err != nil {
		t.Error(there, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := keyed.Publish(ctx, path, ""); err == nil || d.text("SELECT count(*)::text FROM kept") != "2" {
		t.Errorf("what was cancelled: %v", err)
	}
	for range 2 {
		if err := keyed.Publish(t.Context(), path, ""); err != nil {
			t.Fatal(err)
		}
		if got := d.text("SELECT count(*) || ' ' || sum(score) FROM kept"); got != "1001 249757" {
			t.Errorf("merged: %q", got)
		}
	}
	if got := d.text("SELECT score || more FROM kept WHERE id = 5"); got != "2.5stays" {
		t.Errorf("a row that was there: %q", got)
	}
	if err := target("table", "fresh", "key", "id").Publish(t.Context(), path, ""); err != nil || sum("fresh") != want {
		t.Errorf("a table that was not there: %v", err)
	}
	if err := target("table", "none", "key", "missing").Publish(t.Context(), path, ""); code(err) != serval.InvalidArgument || !strings.Contains(err.Error(), "passthrough") {
		t.Errorf("a key that is not in the output: %v", err)
	}

	// Bad rows have a table of their own, which is never somebody else's.
	side := filepath.Join(t.TempDir(), "side")
	if err := os.WriteFile(side, []byte(`{"row":3,"reason":"a \"b\" \\ \u0000","raw":"x\ty"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := whole.Publish(t.Context(), side, batch.ErrorsSuffix); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.text("SELECT count(*) || min(bad->>'reason') FROM scored_errors"); got != "1a \"b\" \\ \ufffd" {
		t.Errorf("bad rows: %q", got)
	}
	if err := whole.Remove(t.Context(), batch.ErrorsSuffix); err != nil || d.text("SELECT (to_regclass('scored_errors') IS NULL)::text") != "true" {
		t.Error(err)
	}
	d.exec("CREATE TABLE scored_errors (mine int)")
	if err := whole.Publish(t.Context(), side, batch.ErrorsSuffix); code(err) != serval.Conflict {
		t.Errorf("somebody else's table: %v", err)
	}
	if err := whole.Remove(t.Context(), batch.ErrorsSuffix); err != nil || d.text("SELECT (to_regclass('scored_errors') IS NULL)::text") != "false" {
		t.Errorf("somebody else's table is gone: %v", err)
	}
}

func FuzzItems(f *testing.F) {
	for _, s := range []string{`{1,NULL,"a b"}`, `[1,2]`, `[2:3]={5,6}`, `{{"a\"",b},{c,d}}`, `{"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if found, err := items(nil, raw); err == nil && len(found) > len(raw)+1 {
			t.Errorf("%d items of %d bytes", len(found), len(raw))
		}
	})
}
