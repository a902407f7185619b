package stream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFiles are what a client's side of an encrypted connection is made of; what is empty is the usual.
type TLSFiles struct {
	CA         string // PEM file of those who may have signed the servers' certificates; "": the system's
	Cert, Key  string // PEM files of the client's own certificate
	ServerName string // the name in the servers' certificates; "": their host's
}

// Config reads them. field is the one that an error is about: "ca" or "cert".
func (f TLSFiles) Config() (c *tls.Config, field string, err error) {
	c = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, "ca", fmt.Errorf("cannot be read: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, "ca", fmt.Errorf("%s holds no PEM certificate", f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, "cert", errors.New("and key belong together; one of them is missing")
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, "cert", fmt.Errorf("cannot be used: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, "", nil
}
