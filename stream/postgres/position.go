package postgres

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"serval/stream"
)

// place is a lane of a topic: what comes in the order of its offsets, also when it comes again.
type place struct{ topic, lane string }

// placeOf is a message's; false: it stands in no order, and is known by its id.
func placeOf(m *stream.Message) (place, bool) {
	if m.Position.ID != "" || m.Lane == nil {
		return place{}, false
	}
	return place{m.Position.Topic, m.Lane.Name}, true
}

// positions keeps, in one transaction with the rows, up to where each place was written. For messages that stand in no order it
// keeps their ids.
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
			"CREATE TABLE IF NOT EXISTS " + p.table + ` (stream text, topic text, lane text, next bigint NOT NULL, PRIMARY KEY (stream, topic, lane))`,
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
		at, ordered := placeOf(m)
		if !ordered {
			list[i] = ids[idOf(m)]
			delete(ids, idOf(m)) // one that is there twice is written once
			continue
		}
		if list[i] = m.Position.Offset >= next[at]; list[i] {
			next[at] = m.Position.Offset + 1
		} else if !p.told[at] && p.warn != nil {
			p.told[at] = true
			p.warn("postgres: messages that were written before are left out", "topic", at.topic, "lane", at.lane, "offset", m.Position.Offset, "next", next[at])
		}
	}
	return list, nil
}

// lock reads the positions of the messages' places, which nobody else changes until the transaction ends.
func (p *positions) lock(ctx context.Context, tx pgx.Tx, messages []*stream.Message) (map[place]int64, error) {
	next := map[place]int64{}
	var places []place
	for _, m := range messages {
		at, ordered := placeOf(m)
		if _, ok := next[at]; !ok && ordered {
			next[at] = 0
			places = append(places, at)
		}
	}
	if len(places) == 0 {
		return next, nil
	}
	// Always in the same order, so that no two workers wait for each other.
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.lane, b.lane))
	})
	topics, lanes := make([]string, len(places)), make([]string, len(places))
	for i, at := range places {
		topics[i], lanes[i] = at.topic, at.lane
	}
	for {
		rows, err := tx.Query(ctx, "SELECT topic, lane, next FROM "+p.table+` WHERE stream = $1 AND (topic, lane) IN (SELECT * FROM unnest($2::text[], $3::text[]))
			ORDER BY topic COLLATE "C", lane COLLATE "C" FOR UPDATE`, p.stream, topics, lanes)
		if err != nil {
			return nil, err
		}
		var at place
		var n int64
		found := 0
		if _, err = pgx.ForEachRow(rows, []any{&at.topic, &at.lane, &n}, func() error {
			next[at] = n
			found++
			return nil
		}); err != nil || found == len(places) {
			return next, err
		}
		// Each place's first time. Another worker may make the row meanwhile; then it is locked by the next look.
		if _, err := tx.Exec(ctx, "INSERT INTO "+p.table+` (stream, topic, lane, next)
			SELECT $1, u.t, u.l, 0 FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS u(t, l, n) ORDER BY u.n ON CONFLICT DO NOTHING`, p.stream, topics, lanes); err != nil {
			return nil, err
		}
	}
}

type messageID struct{ topic, id string }

// idOf is a message's name. An offset may begin anew where a topic is made again; the message's time tells both apart.
func idOf(m *stream.Message) messageID {
	id := m.Position.ID
	if id == "" {
		id = m.Position.String() + "@" + strconv.FormatInt(m.Time.UnixNano(), 10)
	}
	return messageID{m.Position.Topic, id}
}

// claim notes ids, and says which of them were not noted before.
func (p *positions) claim(ctx context.Context, tx pgx.Tx, messages []*stream.Message) (map[messageID]bool, error) {
	var list []messageID
	for _, m := range messages {
		if _, ordered := placeOf(m); !ordered {
			list = append(list, idOf(m))
		}
	}
	fresh := map[messageID]bool{}
	if len(list) == 0 {
		return fresh, nil
	}
	slices.SortFunc(list, func(a, b messageID) int { return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id)) })
	topics, ids := columnsOf(list)
	rows, err := tx.Query(ctx, "INSERT INTO "+p.ids+` (stream, topic, id)
		SELECT $1, u.t, u.i FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS u(t, i, n) ORDER BY u.n
		ON CONFLICT DO NOTHING RETURNING topic, id`, p.stream, topics, ids)
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
		if at, ordered := placeOf(r.m); ordered {
			next[at] = max(next[at], r.m.Position.Offset+1)
		}
	}
	if len(next) == 0 {
		return nil
	}
	var topics, lanes []string
	var offsets []int64
	for at, n := range next {
		topics, lanes, offsets = append(topics, at.topic), append(lanes, at.lane), append(offsets, n)
	}
	_, err := tx.Exec(ctx, "UPDATE "+p.table+` AS p SET next = u.n FROM unnest($2::text[], $3::text[], $4::bigint[]) AS u(t, l, n)
		WHERE p.stream = $1 AND p.topic = u.t AND p.lane = u.l AND p.next < u.n`, p.stream, topics, lanes, offsets)
	return err
}

// pruneAtOnce bounds how long that takes.
const pruneAtOnce = 50_000

// prune forgets ids of long ago, now and then.
func (p *positions) prune(ctx context.Context, c *pgx.Conn) error {
	if time.Since(p.pruned) < time.Hour {
		return nil
	}
	p.pruned = time.Now() // before, so that a failure is not repeated by every Write
	tag, err := c.Exec(ctx, "DELETE FROM "+p.ids+" WHERE ctid = ANY(ARRAY(SELECT ctid FROM "+p.ids+" WHERE stream = $1 AND at < now() - make_interval(secs => $2) LIMIT $3))",
		p.stream, p.remember.Seconds(), pruneAtOnce)
	if err == nil && tag.RowsAffected() == pruneAtOnce { // there is more
		p.pruned = p.pruned.Add(time.Minute - time.Hour)
	}
	return err
}
