package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"serval/stream"
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// positions keeps, in one transaction with the rows, up to where each place was written. For messages with ids it keeps those.
type positions struct {
	table, ids string // as SQL
	stream     string
	remember   time.Duration
	pruned     time.Time
	warn       func(text string, args ...any)
	told       map[place]bool // that something was left out
}

func newPositions(o *TargetOptions, env stream.Env) *positions {
	return &positions{table: quote(o.Positions, true), ids: quote(o.Positions+"_ids", true), stream: env.Stream, remember: o.Remember, warn: env.Warn, told: map[place]bool{}}
}

// ready makes the tables where they are missing.
func (p *positions) ready(ctx context.Context, c *pgx.Conn) error {
	var there bool
	if err := c.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL", p.table, p.ids).Scan(&there); err != nil || there {
		return fault(err)
	}
	// Workers that begin together wait for each other: CREATE TABLE IF NOT EXISTS fails where two do it at once.
	return fault(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"SELECT pg_advisory_xact_lock(hashtext('serval'), hashtext('positions'))",
			"CREATE TABLE IF NOT EXISTS " + p.table + ` (stream text, topic text, partition integer, next bigint NOT NULL, PRIMARY KEY (stream, topic, partition))`,
			"CREATE TABLE IF NOT EXISTS " + p.ids + ` (stream text, topic text, id text, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (stream, topic, id))`,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}))
}

// fresh locks the places of messages until the transaction ends, and says which of the messages were not written yet.
func (p *positions) fresh(ctx context.Context, tx pgx.Tx, messages []*stream.Message) ([]bool, error) {
	next, err := p.lock(ctx, tx, messages)
	if err != nil {
		return nil, err
	}
	ids, err := p.claim(ctx, tx, messages)
	if err != nil {
		return nil, err
	}
	list := make([]bool, len(messages))
	for i, m := range messages {
		at := place{m.Position.Topic, m.Position.Partition}
		if id := m.Position.ID; id != "" {
			list[i] = ids[idOf(m)]
			delete(ids, idOf(m)) // one that is there twice is written once
			continue
		}
		if list[i] = m.Position.Offset >= next[at]; list[i] {
			next[at] = m.Position.Offset + 1
		} else if !p.told[at] && p.warn != nil {
			p.told[at] = true
			p.warn("postgres: messages that were written before are left out", "topic", at.topic, "partition", at.partition, "offset", m.Position.Offset, "next", next[at])
		}
	}
	return list, nil
}

// lock reads the positions of the messages' places, which nobody else changes until the transaction ends.
func (p *positions) lock(ctx context.Context, tx pgx.Tx, messages []*stream.Message) (map[place]int64, error) {
	next := map[place]int64{}
	var places []place
	for _, m := range messages {
		at := place{m.Position.Topic, m.Position.Partition}
		if _, ok := next[at]; !ok && m.Position.ID == "" {
			next[at] = 0
			places = append(places, at)
		}
	}
	if len(places) == 0 {
		return next, nil
	}
	// Always in the same order, so that no two workers wait for each other.
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	topics, partitions := make([]string, len(places)), make([]int32, len(places))
	for i, at := range places {
		topics[i], partitions[i] = at.topic, at.partition
	}
	for {
		rows, err := tx.Query(ctx, "SELECT topic, partition, next FROM "+p.table+` WHERE stream = $1 AND (topic, partition) IN (SELECT * FROM unnest($2::text[], $3::integer[]))
			ORDER BY topic COLLATE "C", partition FOR UPDATE`, p.stream, topics, partitions)
		if err != nil {
			return nil, err
		}
		var at place
		var n int64
		found := 0
		if _, err = pgx.ForEachRow(rows, []any{&at.topic, &at.partition, &n}, func() error {
			next[at] = n
			found++
			return nil
		}); err != nil || found == len(places) {
			return next, err
		}
		// Each place's first time. Another worker may make the row meanwhile; then it is locked by the next look.
		if _, err := tx.Exec(ctx, "INSERT INTO "+p.table+" (stream, topic, partition, next) SELECT $1, u.t, u.p, 0 FROM unnest($2::text[], $3::integer[]) WITH ORDINALITY AS u(t, p, n) ORDER BY u.n ON CONFLICT DO NOTHING",
			p.stream, topics, partitions); err != nil {
			return nil, err
		}
	}
}

type messageID struct{ topic, id string }

func idOf(m *stream.Message) messageID { return messageID{m.Position.Topic, m.Position.ID} }

// claim notes ids, and says which of them were not noted before.
func (p *positions) claim(ctx context.Context, tx pgx.Tx, messages []*stream.Message) (map[messageID]bool, error) {
	var list []messageID
	for _, m := range messages {
		if m.Position.ID != "" {
			list = append(list, idOf(m))
		}
	}
	fresh := map[messageID]bool{}
	if len(list) == 0 {
		return fresh, nil
	}
	slices.SortFunc(list, func(a, b messageID) int { return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id)) })
	topics, ids := columnsOf(list)
	rows, err := tx.Query(ctx, "INSERT INTO "+p.ids+" (stream, topic, id) SELECT $1, u.t, u.i FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS u(t, i, n) ORDER BY u.n ON CONFLICT DO NOTHING RETURNING topic, id",
		p.stream, topics, ids)
	if err != nil {
		return nil, err
	}
	var id messageID
	_, err = pgx.ForEachRow(rows, []any{&id.topic, &id.id}, func() error {
		fresh[id] = true
		return nil
	})
	return fresh, err
}

func columnsOf(list []messageID) (topics, ids []string) {
	for _, id := range list {
		topics, ids = append(topics, id.topic), append(ids, id.id)
	}
	return topics, ids
}

// advance moves the positions behind the messages of rows, which the transaction writes. Ids were noted by fresh.
func (p *positions) advance(ctx context.Context, tx pgx.Tx, rows []*row) error {
	next := map[place]int64{}
	for _, r := range rows {
		if at := (place{r.m.Position.Topic, r.m.Position.Partition}); r.m.Position.ID == "" {
			next[at] = max(next[at], r.m.Position.Offset+1)
		}
	}
	if len(next) == 0 {
		return nil
	}
	var topics []string
	var partitions []int32
	var offsets []int64
	for at, n := range next {
		topics, partitions, offsets = append(topics, at.topic), append(partitions, at.partition), append(offsets, n)
	}
	_, err := tx.Exec(ctx, "UPDATE "+p.table+" AS p SET next = u.n FROM unnest($2::text[], $3::integer[], $4::bigint[]) AS u(t, p, n) WHERE p.stream = $1 AND p.topic = u.t AND p.partition = u.p AND p.next < u.n",
		p.stream, topics, partitions, offsets)
	return err
}

// prune forgets ids of long ago, now and then.
func (p *positions) prune(ctx context.Context, c *pgx.Conn) error {
	if time.Since(p.pruned) < time.Hour {
		return nil
	}
	_, err := c.Exec(ctx, "DELETE FROM "+p.ids+" WHERE stream = $1 AND at < now() - make_interval(secs => $2)", p.stream, p.remember.Seconds())
	if err == nil {
		p.pruned = time.Now()
	}
	return err
}
