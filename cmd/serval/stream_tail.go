package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"serval/client"
)

type tailFlags struct {
	admin
	source, target, dead bool
	headers              bool
	look                 client.StreamLook
}

func streamTail() *cobra.Command {
	f := &tailFlags{}
	c := &cobra.Command{
		Use: "tail STREAM", Short: "Show messages of a stream's source, target or place of dead letters",
		Long: `Show the newest messages of one of a stream's places, and with -f those that come. The server reads them, so no broker's password is
needed here; it reads beside everybody else, and nobody's position moves. What is not text is shown in base64.`,
		Example: `  serval stream tail scores
  serval stream tail scores --dead -n 3 --headers
  serval stream tail scores --source -f --message-key customer-7 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	f.flags(c)
	f.report(c)
	l := c.Flags()
	l.BoolVar(&f.source, "source", false, "what the stream reads")
	l.BoolVar(&f.target, "target", false, "what it writes (the default)")
	l.BoolVar(&f.dead, "dead", false, "its dead letters, with the reason")
	c.MarkFlagsMutuallyExclusive("source", "target", "dead")
	l.IntVarP(&f.look.Last, "last", "n", -1, "the newest so many (default: 10, or with --since all)")
	l.BoolVarP(&f.look.Follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	l.StringVar(&f.look.Since, "since", "", "only from that time on: 2026-11-27T10:00:00Z, or 2h ago")
	l.StringArrayVar(&f.look.Keys, "message-key", nil, "only messages with this key; may be given several times; without --since, the newest 10,000 of each partition are looked through")
	l.IntVar(&f.look.Bytes, "bytes", 0, "show so many bytes of a value (default: 65536)")
	l.BoolVar(&f.headers, "headers", false, "show headers, too (always with --dead and -o json)")
	return c
}

func (f *tailFlags) run(c *cobra.Command, name string) error {
	switch {
	case f.source:
		f.look.Place = "source"
	case f.dead:
		f.look.Place, f.headers = "dead", true
	default:
		f.look.Place = "target"
	}
	ctx := c.Context()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	return f.with(func(s *client.Client) error {
		err := s.TailStream(ctx, name, f.look, func(m *client.StreamMessage) error {
			if f.out == "json" {
				if err := json.NewEncoder(out).Encode(m); err != nil {
					return err
				}
			} else {
				f.show(out, m)
			}
			if !f.look.Follow && out.Buffered() < 32<<10 {
				return nil
			}
			return out.Flush()
		})
		if ctx.Err() != nil { // Ctrl-C is how it ends
			return nil
		}
		return err
	})
}

// show prints a message: where it stands, its key and value, and the headers below.
func (f *tailFlags) show(to io.Writer, m *client.StreamMessage) {
	at := fmt.Sprintf("%s/%d@%d", m.Topic, m.Partition, m.Offset)
	if m.ID != "" {
		at = m.Topic + "@" + m.ID
	}
	when := "-"
	if !m.Time.IsZero() {
		when = m.Time.Local().Format("2006-01-02T15:04:05.000Z07:00")
	}
	value := said(m.Value, m.ValueRaw)
	if m.Value != nil && len(*m.Value) < m.Size || m.ValueRaw != nil && len(m.ValueRaw) < m.Size {
		value += fmt.Sprintf("… (%d bytes)", m.Size)
	}
	fmt.Fprintf(to, "%s  %s  %s  %s\n", when, at, said(m.Key, m.KeyRaw), value) // what cannot be written, Flush says
	if !f.headers {
		return
	}
	for i := range m.Headers {
		h := &m.Headers[i]
		fmt.Fprintf(to, "    %s: %s\n", h.Name, said(h.Value, h.ValueRaw))
	}
}

// said is text as it is, on one line, or base64.
func said(text *string, raw []byte) string {
	switch {
	case raw != nil:
		return "base64:" + base64.StdEncoding.EncodeToString(raw)
	case text == nil:
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 { // a terminal's orders
			return '\uFFFD'
		}
		return r
	}, *text)
}
