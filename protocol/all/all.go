package all

import (
	"serval/protocol"
	"serval/protocol/anthropic"
	"serval/protocol/catalogue"
	"serval/protocol/keda"
	"serval/protocol/kserve"
	"serval/protocol/oip"
	"serval/protocol/ollama"
	"serval/protocol/openai"
	"serval/protocol/rerank"
	"serval/protocol/tgi"
)

// New makes every protocol.
func New(b protocol.Backend) []protocol.Protocol {
	return []protocol.Protocol{
		oip.New(b, oip.Options{}),
		kserve.New(b),
		openai.New(b),
		anthropic.New(b),
		ollama.New(b),
		rerank.New(b),
		tgi.New(b),
		catalogue.New(b),
		keda.New(b),
	}
}
