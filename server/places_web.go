package server

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"serval"
)

// webAddress takes a web address apart that a job names. What could be read as another one is refused.
func webAddress(location, param string) (*url.URL, error) {
	u, err := url.Parse(location)
	if err != nil || u.Hostname() == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "a web address must be like https://host/path/to/file").At(param)
	}
	if u.User != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: a job carries no password; use a signed address, or have the server fetch it from a bucket", u.Host).At(param)
	}
	raw := strings.ToLower(u.EscapedPath())
	for _, odd := range []string{"%2e", "%2f", "%5c", "%00", `\`, "/../", "/./"} {
		if strings.Contains(raw+"/", odd) {
			return nil, serval.Errorf(serval.InvalidArgument, "%s%s: write the path without %q", u.Host, u.Path, odd).At(param)
		}
	}
	return u, nil
}

// covers says whether an address is at the rule's one or below it.
func (r *rule) covers(u *url.URL) bool {
	host, path, _ := strings.Cut(r.rest, "/")
	if u.Scheme != r.kind || host != "*" && canonical(r.kind, host) != canonical(u.Scheme, u.Host) {
		return false
	}
	path = strings.TrimSuffix(path, "/")
	return path == "" || below(strings.TrimPrefix(u.Path, "/"), path)
}

// canonical is a host with its port.
func canonical(scheme, host string) string {
	host = strings.ToLower(host)
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// webClient is how jobs ask web servers: whatever name an address has, and wherever it is redirected to, the machine that is asked
// must be one that the rule allows. No proxy is used: it would be asked instead, and nobody would look at the address.
type webClient struct{ public, private *http.Transport }

func (c *webClient) dial() {
	transport := func(private bool) *http.Transport {
		d := &net.Dialer{Timeout: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error { return allowed(address, private) }}
		return &http.Transport{
			DialContext: d.DialContext, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: time.Minute,
		}
	}
	c.public, c.private = transport(false), transport(true)
}

func (c *webClient) close() {
	c.public.CloseIdleConnections()
	c.private.CloseIdleConnections()
}

const hops = 5

func fewHops(_ *http.Request, via []*http.Request) error {
	if len(via) > hops {
		return serval.Errorf(serval.InvalidArgument, "the web server redirects more than %d times", hops).At("input")
	}
	return nil
}

// RoundTrip sends a request, also one that a redirect made, if the tenant's jobs may ask for that address.
func (r *reach) RoundTrip(req *http.Request) (*http.Response, error) {
	in, err := r.rule(req.URL.String(), false)
	if err != nil {
		return nil, err
	}
	if in.kind != "http" && in.kind != "https" {
		return nil, errors.New("no web address")
	}
	t := r.web.public
	if in.Private {
		t = r.web.private
	}
	return t.RoundTrip(req)
}

// never are addresses that no rule opens: what they answer is about the machine itself, its role's keys among it.
var never = prefixes("169.254.0.0/16", "fe80::/10", "100.100.100.200/32", "fd00:ec2::/32", "192.0.0.192/32", "168.63.129.16/32", "fd20:ce::254/128",
	"fd00:42::42/128")

// inner are addresses that are not of the public internet.
var inner = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
	"2002::/16", "fc00::/7", "fec0::/10", "ff00::/8")

// nat64 is how a network without IPv4 writes its addresses.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

// allowed says whether a job's request may go to an address, which is what a name was resolved to.
func allowed(address string, private bool) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap().WithZone("")
	if whole := ip.As16(); nat64.Contains(ip) {
		ip = netip.AddrFrom4([4]byte(whole[12:]))
	}
	for _, p := range never {
		if p.Contains(ip) {
			return serval.Errorf(serval.PermissionDenied, "the host leads to %s, which no job may ask", ip).At("input")
		}
	}
	if private && !ip.IsMulticast() && !ip.IsUnspecified() {
		return nil
	}
	for _, p := range inner {
		if p.Contains(ip) {
			return serval.Errorf(serval.PermissionDenied, "the host leads to %s, which is not of the public internet; its place needs 'private: true' (batch.places)", ip).At("input")
		}
	}
	return nil
}

var _ http.RoundTripper = (*reach)(nil)
