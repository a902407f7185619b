package postgres

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"

	"serval/internal/testkit"
	"serval/stream"
	"serval/stream/streamtest"
	"serval/stream/streamtest/feed"
)

// sink is tables of a real PostgreSQL under the suite.
type sink struct {
	db *testkit.Database
}

func (s sink) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	c := s.connect(t)
	defer func() { _ = c.Close(context.Background()) }()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (s sink) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), s.db.URL)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s sink) Create(t *testing.T, place string) {
	s.exec(t, "CREATE TABLE "+quote(place, false)+" (n bigserial, key text, value text, headers jsonb)")
}

func (s sink) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	o := defaults()
	o.URL, o.Table = s.db.URL, place
	o.Columns = map[string]string{"key": "$key", "value": "$value", "headers": "$headers"}
	return Broker{}.Target(ctx, o, env)
}

func (s sink) All(t *testing.T, place string) (list []stream.Message) {
	t.Helper()
	c := s.connect(t)
	defer func() { _ = c.Close(context.Background()) }()
	rows, err := c.Query(context.Background(), "SELECT key, value, headers::text FROM "+quote(place, false)+" ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	var key, value *string
	var raw string
	if _, err := pgx.ForEachRow(rows, []any{&key, &value, &raw}, func() error {
		m := stream.Message{Value: []byte(*value)}
		if key != nil {
			m.Key = []byte(*key)
		}
		var headers map[string]string
		if err := json.Unmarshal([]byte(raw), &headers); err != nil {
			return err
		}
		for k, v := range headers {
			m.Headers = append(m.Headers, stream.Header{Key: k, Value: []byte(v)})
		}
		list = append(list, m)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func (s sink) Down(t *testing.T, _ string) func() {
	s.db.Kill()
	return func() { s.db.Start() }
}

func (s sink) Keeps() (headers, once bool) { return true, true }

func TestConformance(t *testing.T) {
	s := sink{testkit.Postgres(t)}
	streamtest.RunTarget(t, feed.New(t), s)
	// Lanes that are no partitions of Kafka, and messages in no order, which are known by their ids.
	t.Run("Lanes", func(t *testing.T) { streamtest.RunTarget(t, feed.NewNATS(t, false), s, "Cut") })
	t.Run("Unordered", func(t *testing.T) { streamtest.RunTarget(t, feed.NewNATS(t, true), s, "Cut", "Handover") })
}
