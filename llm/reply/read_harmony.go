package reply

import (
	"strings"
)

const (
	channelTag = "<|channel|>"
	messageTag = "<|message|>"
)

// harmonyTags are the special tokens of gpt-oss's form.
var harmonyTags = []string{channelTag, messageTag, "<|start|>", "<|end|>", "<|constrain|>", "<|call|>", "<|return|>"}

// channels reads an answer that is made of messages: a head with channel and recipient, a body. The channel analysis is
// reasoning; what goes to a function is a call; the rest is text.
type channels struct {
	body   bool
	to     string
	aloud  bool // the body is text
	silent bool // the body is reasoning
	said   bool // something of the head was read
}

func (c *channels) read(p *Parser, text string, last bool) (n int, s status) {
	for {
		took, s := c.one(p, text[n:], last)
		if n += took; s != goingOn {
			return n, s
		}
	}
}

func (c *channels) one(p *Parser, text string, last bool) (int, status) {
	if text == "" {
		return 0, more
	}
	if !c.body {
		return c.head(p, text, last)
	}
	at, tag := firstOf(text, "<|end|>", "<|call|>", "<|return|>", "<|start|>", channelTag)
	if at < 0 {
		keep := len(text)
		if !last {
			keep = undecided(text, harmonyTags...)
		}
		c.pass(p, text[:keep])
		return keep, more
	}
	c.pass(p, text[:at])
	c.body, c.to, c.aloud, c.silent, c.said = false, "", false, false, true
	if tag == channelTag {
		return at, goingOn
	}
	return at + len(tag), goingOn
}

// headBegins says whether a message's head begins like this; partly: whether it may, with more text.
func headBegins(text string) (begins, partly bool) {
	for _, b := range []string{"<|", "to=", "assistant"} {
		if strings.HasPrefix(text, b) {
			return true, false
		}
		partly = partly || strings.HasPrefix(b, text)
	}
	return false, partly
}

// head reads up to a message's body.
func (c *channels) head(p *Parser, text string, last bool) (int, status) {
	if !c.said {
		begins, partly := headBegins(strings.TrimLeft(text, white))
		switch {
		case partly && !last:
			return 0, more
		case !begins && !partly: // no message at all: text
			c.body, c.aloud = true, true
			return 0, goingOn
		}
	}
	at := strings.Index(text, messageTag)
	if at < 0 {
		switch {
		case len(text) > 1024:
			c.body, c.aloud = true, true
			return 0, goingOn
		case last:
			if !strings.Contains(text, "<|") && !c.said {
				p.say(text)
			}
			return len(text), more
		}
		return 0, more
	}
	head := text[:at]
	if _, to, ok := strings.Cut(head, "to="); ok {
		to = strings.TrimSpace(to)
		if i := strings.IndexAny(to, " <\t\r\n"); i >= 0 {
			to = to[:i]
		}
		c.to = strings.TrimPrefix(to, "functions.")
	}
	_, channel, _ := strings.Cut(head, channelTag)
	switch channel = strings.TrimSpace(channel); {
	case c.to != "" && len(p.known) > 0 && c.to != "assistant":
		p.begun(c.to, "")
	case strings.HasPrefix(channel, "analysis"):
		c.to, c.silent = "", true
	default:
		c.to, c.aloud = "", true
	}
	c.body, c.said = true, true
	return at + len(messageTag), goingOn
}

func (c *channels) pass(p *Parser, text string) {
	switch {
	case c.to != "":
		p.argue(text)
	case c.silent:
		p.think(text)
	default:
		p.say(text)
	}
}
