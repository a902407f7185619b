package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// What a consumer is told of a message that it delivered.
var (
	ackDone     = []byte("+ACK")
	ackProgress = []byte("+WPI")
	ackNot      = []byte("-NAK")
)

// errMoved says that another server is going to answer for the consumer.
var errMoved = errors.New("the consumer's leader changes")

// line is a subscription for what one consumer delivers. It is kept over many pulls: what nats.go's Fetch subscribes to is gone
// when the server says that a pull is over, which servers of a cluster say before the last messages of it are on their way
// (seen with 2.15.3: status 409 "Batch Completed" of pulls with max_bytes).
type line struct {
	s     *source
	api   string // where pulls are sent
	inbox string
	sub   *natsgo.Subscription
	in    chan *natsgo.Msg
	pulls int
}

// listen opens a line to the consumer of a lane.
func (s *source) listen(number int) (*line, error) {
	l := &line{
		s: s, inbox: s.nc.NewInbox() + ".", in: make(chan *natsgo.Msg, 4*pullMessages), // two pulls at most, and words about them
		api: s.o.api() + "CONSUMER.MSG.NEXT." + s.stream + "." + s.cons[number].CachedInfo().Name,
	}
	var err error
	if l.sub, err = s.nc.ChanSubscribe(l.inbox+"*", l.in); err != nil {
		return nil, refused("subscription", err)
	}
	return l, nil
}

func (l *line) close() { _ = l.sub.Unsubscribe() }

// pull asks for at most n messages and gives take what comes, until the server or the number says that this was all. taken counts
// them. When ctx ends a pull of a lane is given up; without order it is waited for, since what is on its way would come again only
// after ack_wait.
func (l *line) pull(ctx context.Context, n int, take func(*natsgo.Msg) error) (taken int, err error) {
	wait, stop := pullWait, ctx.Done()
	if l.s.share == nil {
		wait, stop = time.Second, nil
	}
	request, _ := json.Marshal(map[string]any{"batch": n, "max_bytes": l.s.most, "expires": wait, "idle_heartbeat": wait / 4})
	l.pulls++
	reply := l.inbox + strconv.Itoa(l.pulls)
	reconnects := l.s.nc.Stats().Reconnects
	if err := l.s.nc.PublishRequest(l.api, reply, request); err != nil {
		return 0, err
	}
	tick := time.NewTicker(min(wait/4, retryInterval))
	defer tick.Stop()
	for heard := time.Now(); taken < n; {
		select {
		case m := <-l.in:
			heard = time.Now()
			over, err := status(m, reply)
			if over || err != nil {
				return taken, err
			}
			if m.Reply == "" { // a heartbeat, or a word about an earlier pull
				continue
			}
			if err := take(m); err != nil {
				return taken, err
			}
			taken++
		case now := <-tick.C:
			if l.s.nc.Stats().Reconnects != reconnects { // the server has forgotten the pull
				return taken, nil
			}
			if now.Sub(heard) > wait*3/4 {
				return taken, errors.New("nothing is heard of the consumer")
			}
		case <-stop:
			return taken, ctx.Err()
		}
	}
	return taken, nil
}

// status reads what the server says of a pull: it is over, in order or not.
func status(m *natsgo.Msg, reply string) (over bool, err error) {
	code := ""
	if len(m.Data) == 0 && m.Header != nil {
		code = m.Header.Get("Status")
	}
	if code == "" || m.Subject != reply {
		return false, nil
	}
	text := strings.ToLower(m.Header.Get("Description"))
	switch code {
	case "100":
		return false, nil
	case "404", "408":
		return true, nil
	case "503":
		return true, natsgo.ErrNoResponders
	case "409":
		switch {
		case strings.Contains(text, "batch completed"), strings.Contains(text, "exceeds maxbytes"):
			return true, nil
		case strings.Contains(text, "leadership change"), strings.Contains(text, "server shutdown"):
			return true, errMoved
		}
	}
	return true, fmt.Errorf("the server refuses to deliver: %s %s", code, text)
}
