package nats

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"serval"
)

// consumers finds or makes the durable consumer of each lane. All exist before any is read: a stream that keeps messages only
// while somebody is interested would drop those of the others.
func (s *source) consumers(ctx context.Context, st jetstream.Stream) ([]jetstream.Consumer, error) {
	list := make([]jetstream.Consumer, len(s.lanes))
	for i, subjects := range s.lanes {
		name := s.consumer
		if len(s.lanes) > 1 {
			name += "-" + strconv.Itoa(i)
		}
		var err error
		if list[i], err = s.findConsumer(ctx, st, name, subjects); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (s *source) findConsumer(ctx context.Context, st jetstream.Stream, name string, subjects []string) (jetstream.Consumer, error) {
	for again := false; ; again = true {
		c, err := st.Consumer(ctx, name)
		if err == nil {
			return c, s.fits(c.CachedInfo(), subjects)
		}
		if errors.Is(err, jetstream.ErrNotPullConsumer) {
			return nil, serval.Errorf(serval.InvalidArgument, "nats: the consumer '%s' of stream '%s' is a push consumer; name another one, which is made", name, s.stream).At("consumer")
		}
		if !errors.Is(err, jetstream.ErrConsumerNotFound) || again {
			return nil, refused("consumer "+name, err)
		}
		config := jetstream.ConsumerConfig{
			Durable: name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.o.AckWait, MaxDeliver: -1, MaxAckPending: s.o.MaxAckPending,
			Description: "of Serval's stream " + s.env.Stream,
		}
		if len(subjects) == 1 {
			config.FilterSubject = subjects[0]
		} else {
			config.FilterSubjects = subjects
		}
		at, err := s.o.start()
		switch {
		case err != nil:
			return nil, err
		case s.o.Start == "new":
			config.DeliverPolicy = jetstream.DeliverNewPolicy
		case !at.IsZero():
			config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &at
		}
		if c, err = st.CreateConsumer(ctx, config); err == nil {
			return c, nil
		}
		if !errors.Is(err, jetstream.ErrConsumerExists) { // another worker's, which was faster
			return nil, refused("consumer "+name+" could not be made", err)
		}
	}
}

// fits says what about a consumer that was there is not as it must be.
func (s *source) fits(info *jetstream.ConsumerInfo, subjects []string) error {
	c := &info.Config
	wrong := func(what string) error {
		return serval.Errorf(serval.InvalidArgument, "nats: the consumer '%s' of stream '%s' %s; delete it, or name another one in consumer", info.Name, s.stream, what).At("consumer")
	}
	have := slices.Clone(c.FilterSubjects)
	if c.FilterSubject != "" {
		have = append(have, c.FilterSubject)
	}
	want := slices.Clone(subjects)
	slices.Sort(have)
	slices.Sort(want)
	switch {
	case c.AckPolicy != jetstream.AckExplicitPolicy:
		return wrong("does not want each message acked (its ack policy is " + c.AckPolicy.String() + ")")
	case c.MaxDeliver > 0:
		return wrong("gives a message out " + strconv.Itoa(c.MaxDeliver) + " times and then loses it (max deliver)")
	case !slices.Equal(have, want):
		all := func(list []string) string {
			if len(list) == 0 {
				return "all subjects"
			}
			return strings.Join(list, ", ")
		}
		return wrong("reads " + all(have) + ", not " + all(want))
	}
	return nil
}
