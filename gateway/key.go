package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"serval"
)

// DefaultTenant is the tenant of every request where no keys are configured.
const DefaultTenant = "default"

// maxCredential is the longest key that is looked at; any key that a person or generator makes is far shorter.
const maxCredential = 512

// Access is a set of things that a key may do.
type Access uint8

// What a key may do. Read is metadata and statistics, which any known key may see; a key with Read alone is a monitor's.
const (
	Infer Access = 1 << iota
	Read
	Control // load, unload and settings
)

var accessNames = [...]struct {
	access Access
	name   string
}{{Infer, "infer"}, {Read, "read"}, {Control, "control"}}

// ParseAccess reads a set from its names: infer, read, control. It reports false when one is unknown.
func ParseAccess(names []string) (Access, bool) {
	var a Access
next:
	for _, name := range names {
		for _, known := range accessNames {
			if known.name == name {
				a |= known.access
				continue next
			}
		}
		return 0, false
	}
	return a, true
}

// String is the names of a's members with commas between them.
func (a Access) String() string {
	var names []string
	for _, known := range accessNames {
		if a&known.access != 0 {
			names = append(names, known.name)
		}
	}
	return strings.Join(names, ", ")
}

// Key is one caller's API key. The key itself is not known, only its digest.
type Key struct {
	Name   string            // becomes the tenant
	Digest [sha256.Size]byte // SHA-256 of the key
	Access Access
	Rate   float64 // requests per second; 0: no limit
	Burst  int     // requests that may come at once; 0: one second's worth
}

// Authorize checks a caller's key for what does not pass Handle: metadata, statistics, load and unload. It takes nothing
// from the key's rate.
func (g *Gateway) Authorize(credential string, access Access) *serval.Error {
	p := g.policy.Load()
	if access&Control != 0 && p.denyControl {
		return serval.Errorf(serval.PermissionDenied, "changing models and settings at run time is switched off; set 'control: true' in serval.yaml to allow it")
	}
	_, err := p.identify(credential, access)
	return err
}

// Tenant is the owner of a key that may infer, as requests with it have.
func (g *Gateway) Tenant(credential string) (string, *serval.Error) {
	k, err := g.policy.Load().identify(credential, Infer)
	if err != nil {
		return "", err
	}
	if k == nil {
		return DefaultTenant, nil
	}
	return k.Name, nil
}

// Caller is Tenant for what the holder of a key does that it need not infer for; DefaultTenant where no keys are configured.
func (g *Gateway) Caller(credential string) (string, *serval.Error) {
	k, err := g.policy.Load().identify(credential, Read)
	if err != nil || k == nil {
		return DefaultTenant, err
	}
	return k.Name, nil
}

// Admit is Tenant for a request that is answered later, by As: it is taken from the key's rate now.
func (g *Gateway) Admit(credential string) (string, *serval.Error) {
	k, err := g.policy.Load().identify(credential, Infer)
	if err != nil {
		return "", err
	}
	if k == nil {
		return DefaultTenant, nil
	}
	return k.Name, k.take(time.Now())
}

// Line takes a request of a batch from what online requests leave of a tenant's rate, or says how long it is until there is something.
// What a tenant's several keys may do is theirs together. A tenant without a key has no limit: it was removed since, and what it was
// allowed goes on.
func (g *Gateway) Line(tenant string) time.Duration {
	now, wait := time.Now(), time.Duration(0)
	for i, b := range g.policy.Load().buckets[tenant] {
		if b == nil {
			return 0
		}
		d := b.line(now)
		if d <= 0 {
			return 0
		}
		if i == 0 || d < wait {
			wait = d
		}
	}
	return wait
}

// identify finds the key and checks that it allows what is asked. It returns nil, nil when no keys are configured.
func (p *policy) identify(credential string, access Access) (*key, *serval.Error) {
	if len(p.keys) == 0 {
		return nil, nil
	}
	if credential == "" {
		return nil, serval.Errorf(serval.Unauthenticated, "an API key is needed; send it as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'")
	}
	k := p.find(credential)
	if k == nil {
		return nil, serval.Errorf(serval.Unauthenticated, "the API key is not known to this server")
	}
	if access &^= Read; access&^k.Access != 0 {
		return nil, serval.Errorf(serval.PermissionDenied, "the key '%s' allows %s, not %s; ask the operator to add it to the key's access in serval.yaml",
			k.Name, k.Access, access&^k.Access)
	}
	return k, nil
}

// find looks a key up by its digest. How long the map takes can tell of the digest at most, and no key follows from that;
// the comparison of the whole digest takes the same time wherever it differs.
func (p *policy) find(credential string) *key {
	if len(credential) > maxCredential {
		return nil
	}
	var buffer [maxCredential]byte // on the stack, where []byte(credential) would be on the heap
	digest := sha256.Sum256(buffer[:copy(buffer[:], credential)])
	k := p.keys[[8]byte(digest[:8])]
	for ; k != nil; k = k.sibling {
		if subtle.ConstantTimeCompare(k.Digest[:], digest[:]) == 1 {
			return k
		}
	}
	return nil
}
