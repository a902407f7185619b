package stream

// Caller has messages answered as a worker's callers do, without a broker.
type Caller struct{ r *run }

// NewCaller makes one. Options need Handler, Models and Format.
func NewCaller(o Options) *Caller { return &Caller{newRun(New(o))} }

// Answer answers messages as one group, and appends the results to list. A message without one is nil.
func (c *Caller) Answer(messages []Message, list []*Message) []*Message {
	items := make([]item, len(messages))
	group := make([]*item, len(messages))
	for i := range messages {
		items[i].msg, group[i] = messages[i], &items[i]
		items[i].size = int64(messages[i].size())
	}
	c.r.handle(group)
	for _, it := range group {
		if it.failed != nil {
			list = append(list, nil)
			continue
		}
		list = append(list, &it.out)
	}
	return list
}
