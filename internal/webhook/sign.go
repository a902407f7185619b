package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"serval"
)

// The headers of the scheme.
const (
	HeaderID        = "webhook-id"        // the same for every attempt: receivers know repetitions by it
	HeaderTimestamp = "webhook-timestamp" // of the attempt, in seconds since 1970
	HeaderSignature = "webhook-signature" // "v1," and the base64 of an HMAC-SHA256; several are parted by blanks
)

// Tolerance is how far a timestamp may be from the receiver's clock, as the scheme's libraries have it.
const Tolerance = 5 * time.Minute

const prefix = "whsec_"

// Key signs and verifies. The zero Key does neither.
type Key struct{ raw []byte }

// ParseKey reads a secret: "whsec_" and base64, or the base64 alone, of 16 to 128 bytes. The scheme recommends 24 to 64.
func ParseKey(secret string) (Key, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(secret), prefix))
	if err != nil || len(raw) < 16 || len(raw) > 128 {
		return Key{}, serval.Errorf(serval.InvalidArgument, "the secret must be whsec_ and the base64 of 24 to 64 random bytes; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	return Key{raw}, nil
}

// NewKey makes a random one of 32 bytes.
func NewKey() Key {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return Key{raw}
}

// Secret is the key as ParseKey reads it.
func (k Key) Secret() string { return prefix + base64.StdEncoding.EncodeToString(k.raw) }

func (k Key) sum(id, stamp string, body []byte) []byte {
	h := hmac.New(sha256.New, k.raw)
	h.Write([]byte(id + "." + stamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Sign makes the three headers of a message. More than one key, while an old secret still has to work, makes more than one
// signature. An id has no full stop by the scheme, since it is what parts the signed text.
func Sign(id string, at time.Time, body []byte, keys ...Key) (http.Header, error) {
	if id == "" || len(id) > 256 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }) {
		return nil, serval.Errorf(serval.InvalidArgument, "the webhook id %q must be 1 to 256 printable characters of ASCII without blanks and full stops", id)
	}
	if len(keys) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "there is no secret to sign with")
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(keys))
	for i, k := range keys {
		if len(k.raw) == 0 {
			return nil, serval.Errorf(serval.InvalidArgument, "there is no secret to sign with")
		}
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(k.sum(id, stamp, body))
	}
	h := http.Header{}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, stamp)
	h.Set(HeaderSignature, strings.Join(signatures, " "))
	return h, nil
}

// Verify says whether a message is signed with one of the keys and was not sent more than Tolerance before or after now. Its
// error is Unauthenticated.
func Verify(h http.Header, body []byte, now time.Time, keys ...Key) error {
	id, stamp := h.Get(HeaderID), h.Get(HeaderTimestamp)
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		if h.Get(name) == "" {
			return serval.Errorf(serval.Unauthenticated, "the header %s is missing", name).At(name)
		}
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return serval.Errorf(serval.Unauthenticated, "the header %s must be seconds since 1970, not %.40q", HeaderTimestamp, stamp).At(HeaderTimestamp)
	}
	if tolerance := int64(Tolerance / time.Second); seconds < now.Unix()-tolerance || seconds > now.Unix()+tolerance {
		return serval.Errorf(serval.Unauthenticated, "the header %s is more than %v off this clock", HeaderTimestamp, Tolerance).At(HeaderTimestamp)
	}
	const most = 16 // signatures that are looked at
	for _, s := range strings.SplitN(h.Get(HeaderSignature), " ", most) {
		version, text, _ := strings.Cut(s, ",")
		if version != "v1" {
			continue
		}
		got, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		for _, k := range keys {
			if len(k.raw) > 0 && hmac.Equal(got, k.sum(id, stamp, body)) {
				return nil
			}
		}
	}
	return serval.Errorf(serval.Unauthenticated, "no signature in the header %s is of a known secret", HeaderSignature).At(HeaderSignature)
}
