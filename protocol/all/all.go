package all

import (
	"serval/protocol"
	"serval/protocol/kserve"
	"serval/protocol/oip"
)

// New makes every protocol.
func New(b protocol.Backend) []protocol.Protocol {
	return []protocol.Protocol{
		oip.New(b, oip.Options{}),
		kserve.New(b),
	}
}
