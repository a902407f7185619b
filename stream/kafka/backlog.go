package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Backlog implements stream.Shared: what lies behind the offsets that the group has committed, in all partitions.
func (r *reader) Backlog(ctx context.Context) (int64, error) {
	group, _ := r.cl.OptValue(kgo.ConsumerGroup).(string)
	all, err := kadm.NewClient(r.cl).Lag(ctx, group)
	if err != nil {
		return 0, err
	}
	lag, ok := all[group]
	if !ok {
		return 0, fmt.Errorf("the brokers do not know the group %s", group)
	}
	if err := lag.Error(); err != nil {
		return 0, err
	}
	return lag.Lag.Total(), nil
}
