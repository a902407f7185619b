package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// Place is something that jobs may reach. Which fields it has depends on what At names.
type Place struct {
	At      string   `yaml:"at" doc:"a folder (/data/in), s3://bucket/prefix, gs://bucket/prefix, azblob://container/prefix, https://host/path (https://*/: any public host), or a name for a database (postgres://warehouse)"`
	Tenants []string `yaml:"tenants" doc:"whose jobs; empty: everybody's"`
	Write   bool     `yaml:"write" doc:"jobs may write there, too"`
	Private bool     `yaml:"private" doc:"of a web server: it may be on this machine or in a private network"`

	Endpoint     string `yaml:"endpoint" doc:"of a bucket: the store's address, as in https://minio.example.org; of azblob:// the account's; empty: the cloud's own"`
	Region       string `yaml:"region" doc:"of s3://; empty: as the environment says"`
	AccessKey    string `yaml:"access_key" doc:"of s3://, as in ${BUCKET_KEY}; empty: as the environment says"`
	SecretKey    string `yaml:"secret_key" doc:"of s3://, as in ${BUCKET_SECRET}"`
	SessionToken string `yaml:"session_token" doc:"of s3://, where the keys are temporary"`
	Credentials  string `yaml:"credentials" doc:"of gs://: path of a service account's key file; empty: as the environment says (GOOGLE_APPLICATION_CREDENTIALS)"`
	Account      string `yaml:"account" doc:"of azblob://: whose container; empty: as the environment says (AZURE_STORAGE_ACCOUNT)"`
	AccountKey   string `yaml:"account_key" doc:"of azblob://, as in ${AZURE_KEY}; empty: sas, else as the environment says"`
	SAS          string `yaml:"sas" doc:"of azblob://: a shared access signature, in place of account_key"`
	Anonymous    bool   `yaml:"anonymous" doc:"of a bucket: it is public, and requests are not signed"`

	URL     string   `yaml:"url" doc:"of a database: postgres://user:password@host:5432/database, best as ${WAREHOUSE_URL}; jobs name it by at alone"`
	Tables  []string `yaml:"tables" doc:"of a database: the tables that jobs may name, as in scores or raw.*; empty: all that the user may"`
	Queries bool     `yaml:"queries" doc:"of a database: jobs may bring queries of their own, which see all that the user may"`
}

// reach checks that a place has the fields of its kind. URLs and keys may be secret, so they are not shown.
func (k *check) reach(p *Place, path string) {
	scheme, rest, remote := strings.Cut(p.At, "://")
	bucket := scheme == "s3" || scheme == "gs" || scheme == "azblob"
	amazon := p.Region != "" || p.AccessKey != "" || p.SecretKey != "" || p.SessionToken != ""
	azure := p.Account != "" || p.AccountKey != "" || p.SAS != ""
	database := p.URL != "" || len(p.Tables) > 0 || p.Queries
	switch {
	case !remote && !filepath.IsAbs(p.At):
		k.fail(path+".at", "must be an absolute path, s3://bucket/prefix, gs://bucket/prefix, azblob://container/prefix, https://host/path or postgres://name, not %s", quote(p.At))
	case remote && !slices.Contains([]string{"s3", "gs", "azblob", "http", "https", "postgres"}, scheme):
		k.fail(path+".at", "has the scheme %s; there are s3, gs, azblob, https, http and postgres, and paths", quote(scheme))
	case remote && (rest == "" || strings.ContainsAny(rest, "?#@\\")):
		k.fail(path+".at", "must be like s3://bucket/prefix, https://host/path or postgres://name alone; keys and addresses have fields of their own")
	case scheme == "postgres" && strings.ContainsAny(rest, "/:"):
		k.fail(path+".at", "must be postgres:// and a name that you choose; the address goes to url")
	case scheme == "postgres" && !strings.HasPrefix(p.URL, "postgres://") && !strings.HasPrefix(p.URL, "postgresql://"):
		k.fail(path+".url", "must be like postgres://user:password@host:5432/database")
	case !bucket && (p.Endpoint != "" || p.Anonymous || p.Credentials != "" || amazon || azure):
		k.fail(path+".at", "is no bucket, and endpoint, anonymous and keys are of one")
	case amazon && scheme != "s3":
		k.fail(path+".at", "is not in s3://, and region, access_key, secret_key and session_token are of that")
	case p.Credentials != "" && scheme != "gs":
		k.fail(path+".at", "is not in gs://, and credentials are of that")
	case azure && scheme != "azblob":
		k.fail(path+".at", "is not in azblob://, and account, account_key and sas are of that")
	case p.AccountKey != "" && p.SAS != "":
		k.fail(path+".sas", "and account_key exclude each other")
	case p.AccountKey != "" && p.Account == "":
		k.fail(path+".account", "is missing, whose key account_key is")
	case database && scheme != "postgres":
		k.fail(path+".at", "is no database, and url, tables and queries are of one")
	case p.Private && scheme != "http" && scheme != "https":
		k.fail(path+".private", "is of a web server")
	case p.Write && (scheme == "http" || scheme == "https"):
		k.fail(path+".write", "cannot be: jobs read from web servers only")
	case (p.AccessKey == "") != (p.SecretKey == ""):
		k.fail(path+".access_key", "and secret_key belong together; write both or none")
	}
}
