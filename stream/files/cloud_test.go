package files

import (
	"context"
	"slices"
	"testing"
	"time"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
	"serval/stream/streamtest"
	"serval/stream/streamtest/feed"
)

// store is a server of Google's or Azure's kind.
type store interface {
	Get(key string) string
	List(prefix string) []string
	Kill()
	Stop()
	Start()
}

// cloud is a sink in such a store.
type cloud struct {
	store
	at  string // gs://rows/
	set func(*TargetOptions)
}

func (c cloud) Create(*testing.T, string) {}

func (c cloud) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	o := defaults()
	c.set(o)
	o.Path, o.Format, o.RollEvery = c.at+place+"/{year}/{month}/{day}", "jsonl", 50*time.Millisecond
	return Broker{}.Target(ctx, o, env)
}

func (c cloud) All(t *testing.T, place string) (list []stream.Message) {
	for _, key := range c.List(place + "/") {
		list = append(list, lines(t, []byte(c.Get(key)))...)
	}
	slices.SortStableFunc(list, func(a, b stream.Message) int { return int(a.Position.Offset - b.Position.Offset) })
	return list
}

func (c cloud) Down(*testing.T, string) func() {
	if _, ok := c.store.(*testkit.Container); ok {
		c.Stop() // Azurite writes its table of blobs now and then, and at its end
	} else {
		c.Kill()
	}
	return c.Start
}

func (c cloud) Keeps() (headers, once bool) { return true, false }

// A store that goes away while messages flow: none is lost, and a file is seen whole or not at all.
func TestClouds(t *testing.T) {
	t.Parallel()
	nats := feed.NewNATS(t, false)
	g, a := testkit.GCS(t), testkit.Azure(t)
	for _, c := range []cloud{
		{g, "gs://" + g.Name + "/", func(o *TargetOptions) { o.GCS = GCS{Endpoint: g.Endpoint, Anonymous: true} }},
		{a, "azblob://" + a.Name + "/", func(o *TargetOptions) {
			o.Azure = Azure{Account: a.Account, Endpoint: a.Endpoint, AccountKey: a.Key}
		}},
	} {
		t.Run(c.at, func(t *testing.T) {
			t.Parallel()
			streamtest.RunTarget(t, nats, c, "AckAfterSeen", "Outage", "Cut")
			to := open(t, func(o *TargetOptions) { c.set(o); o.Path = c.at[:len(c.at)-len("rows/")] + "none/x" })
			if err := to.Write(t.Context(), []*stream.Message{message(nil, 0, "{}")}); serval.AsError(err).Code != serval.NotFound || stream.IsPermanent(err) {
				t.Errorf("a bucket that is not there: %v", err)
			}
		})
	}
}
