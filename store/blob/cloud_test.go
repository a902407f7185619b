package blob

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/batch"
	"serval/internal/testkit"
)

// cloud is a store of Google's or Azure's kind, under the tests that S3 has.
type cloud struct {
	at       string // gs://rows/
	endpoint string
	address  string // what a proxy passes on to
	path     string // behind the address
	opt      Options
	keys     []string // secrets
}

func clouds(t *testing.T, each func(t *testing.T, c *cloud)) {
	t.Run("gs", func(t *testing.T) {
		t.Parallel()
		b := testkit.GCS(t)
		each(t, &cloud{at: "gs://" + b.Name + "/", endpoint: b.Endpoint, address: strings.TrimPrefix(b.Endpoint, "http://"), opt: Options{GCS: GCS{Endpoint: b.Endpoint, Anonymous: true}}})
	})
	t.Run("azblob", func(t *testing.T) {
		t.Parallel()
		b := testkit.Azure(t)
		u, err := url.Parse(b.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		each(t, &cloud{at: "azblob://" + b.Name + "/", endpoint: b.Endpoint, address: u.Host, path: u.Path, keys: []string{b.Key},
			opt: Options{Azure: Azure{Account: b.Account, Endpoint: b.Endpoint, Key: b.Key}}})
	})
}

func (c *cloud) places(t *testing.T) *Places {
	p := New(c.opt)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestClouds(t *testing.T) {
	t.Parallel()
	clouds(t, func(t *testing.T, c *cloud) {
		p := c.places(t)
		large := random(1, 18<<20+17)
		all := map[string][]byte{"in/a.csv": []byte("a\n1\n"), "in/b.csv": []byte("a\n2\n"), "in/.c.csv": {'x'}, "in/deep/d.csv": {'y'}, "in/empty": {}, "in/large 1%ü#.bin": large}
		for key, data := range all {
			put(t, p, c.at+key, data)
		}
		for pattern, want := range map[string][]string{
			"in/*.csv": {"in/.c.csv", "in/a.csv", "in/b.csv"}, "in/[ab].*": {"in/a.csv", "in/b.csv"}, "in/?.csv": {"in/a.csv", "in/b.csv"},
			"*/deep/*": {"in/deep/d.csv"}, "in/": {"in/a.csv", "in/b.csv", "in/empty", "in/large 1%ü#.bin"}, "in/a.csv": {"in/a.csv"},
			"in/a.csv?endpoint=" + url.QueryEscape(c.endpoint): {"in/a.csv"}, `in/\a.c*`: {"in/a.csv"},
		} {
			found, err := p.Locate(t.Context(), c.at+pattern)
			for i := range want {
				want[i] = c.at + want[i]
			}
			if got := names(found); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %q, %v", pattern, got, err)
			}
			for _, o := range found { // a job's key is made of the version: it must be the same whoever is asked
				same, err := p.Find(t.Context(), o.Name())
				if err != nil || same.Version() != o.Version() || o.Version() == "" || same.Size() != o.Size() {
					t.Errorf("%s is version %q of a list, found alone %+v, %v", o.Name(), o.Version(), same, err)
				}
			}
		}
		scheme, _, _ := strings.Cut(c.at, "://")
		for location, want := range map[string]serval.Code{
			c.at + "none": serval.NotFound, c.at + "none*": serval.NotFound, scheme + "://nobucket/x": serval.NotFound, scheme + "://nobucket/x*": serval.NotFound,
			scheme + ":///x": serval.InvalidArgument, c.at + "[": serval.InvalidArgument, c.at + "x?endpoint=foo": serval.InvalidArgument,
			c.at + "x?anonymous=true&region=a": serval.InvalidArgument,
		} {
			if _, err := p.Locate(t.Context(), location); code(err) != want {
				t.Errorf("%s: %v", location, err)
			}
		}
		o := one(t, p, c.at+"in/large 1%ü#.bin")
		if o.Size() != int64(len(large)) {
			t.Errorf("%d bytes", o.Size())
		}
		readAnywhere(t, o, large)
		r, err := one(t, p, c.at+"in/empty").Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || len(got) != 0 {
			t.Errorf("nothing is %q, %v", got, err)
		}
		_ = r.Close()
	})
}

// A connection that drops again and again costs time, no bytes; an object that changes is an error.
func TestCloudDrops(t *testing.T) {
	t.Parallel()
	clouds(t, func(t *testing.T, c *cloud) {
		p := c.places(t)
		data := random(2, 6<<20)
		put(t, p, c.at+"x", data)
		via := newProxy(t, c.address)
		at := c.at + "x?endpoint=" + url.QueryEscape(via.address+c.path)
		via.after.Store(1 << 20)
		o := one(t, p, at)
		readAnywhere(t, o, data)
		if via.cuts.Load() < 5 {
			t.Errorf("only %d connections were cut off", via.cuts.Load())
		}
		via.after.Store(0)
		o = one(t, p, at)
		put(t, p, c.at+"x", random(3, 6<<20))
		r, err := o.Open(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); code(err) != serval.Conflict {
			t.Errorf("an object that changed, in order: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := o.At().ReadAt(make([]byte, 100), 5<<20); code(err) != serval.Conflict {
			t.Errorf("an object that changed, anywhere: %v", err)
		}
	})
}

// An upload is seen whole or not at all, also over an object that is there.
func TestCloudTarget(t *testing.T) {
	t.Parallel()
	clouds(t, func(t *testing.T, c *cloud) {
		p := c.places(t)
		data := random(4, 24<<20)
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		via := newProxy(t, c.address) // passes each connection on, so the test knows when bytes flow
		at, err := p.Target(t.Context(), c.at+"out/scored.bin?endpoint="+url.QueryEscape(via.address+c.path))
		if err != nil {
			t.Fatal(err)
		}
		if there, err := at.Exists(t.Context()); there || err != nil || at.Path() != "" || at.Name() != c.at+"out/scored.bin" {
			t.Errorf("%v, %v, %q, %q", there, err, at.Path(), at.Name())
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		via.sent.Store(0)
		go func() { // gives it up in the middle
			defer cancel()
			for ctx.Err() == nil && via.sent.Load() < 17<<20 {
				time.Sleep(time.Millisecond)
			}
		}()
		if err := at.Publish(ctx, path, ""); err == nil {
			t.Error("an upload that was given up succeeded")
		}
		if there, err := at.Exists(t.Context()); there || err != nil {
			t.Errorf("an upload that was given up is there: %v, %v", there, err)
		}
		if found, err := p.Locate(t.Context(), c.at+"out/"); code(err) != serval.NotFound {
			t.Errorf("an upload that was given up leaves %q, %v", names(found), err)
		}
		for _, suffix := range []string{"", "", batch.ErrorsSuffix} { // twice, as after a kill
			if err := at.Publish(t.Context(), path, suffix); err != nil {
				t.Fatal(err)
			}
		}
		for _, suffix := range []string{"", batch.ErrorsSuffix} {
			r, err := one(t, p, c.at+"out/scored.bin"+suffix).Open(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%q: %d bytes of %d, %v", suffix, len(got), len(data), err)
			}
			_ = r.Close()
		}
		for range 2 {
			if err := at.Remove(t.Context(), batch.ErrorsSuffix); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := p.Locate(t.Context(), c.at+"out/"); err != nil || !slices.Equal(names(got), []string{c.at + "out/scored.bin"}) {
			t.Errorf("one was removed; there are %q, %v", names(got), err)
		}
		for _, location := range []string{c.at, c.at + "a*", c.at + "a/"} {
			if _, err := p.Target(t.Context(), location); code(err) != serval.InvalidArgument {
				t.Errorf("%s: %v", location, err)
			}
		}
		scheme, _, _ := strings.Cut(c.at, "://")
		nowhere, err := p.Target(t.Context(), scheme+"://nobucket/x")
		if err != nil {
			t.Fatal(err)
		}
		if err := nowhere.Publish(t.Context(), path, ""); code(err) != serval.NotFound {
			t.Errorf("into no bucket: %v", err)
		}
	})
}

// FuzzLocation: whatever is written, a location is refused, or names a bucket and a key that its name shows as they are.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"s3://b/k?endpoint=http://h&region=r", "gs://b/a*?", "azblob://c/k?account=a&endpoint=https://h/a", "GS://b/?anonymous=true", "azblob://c/[", "s3://b@h/k", "gs://b/k?endpoint=%", "s3://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		if settings[scheme(location)] == nil {
			return
		}
		a, err := parse(location, "input")
		if err != nil {
			if code(err) != serval.InvalidArgument {
				t.Errorf("%q: %v", location, err)
			}
			return
		}
		if rest := location[len(a.scheme):]; a.bucketID.name == "" || strings.Contains(a.bucketID.name, "/") || !strings.HasPrefix(rest, "://"+a.bucketID.name) ||
			!strings.HasPrefix(rest, "://"+a.bucketID.name+"/"+a.key) && a.key != "" {
			t.Errorf("%q is bucket %q, key %q", location, a.bucketID.name, a.key)
		}
	})
}

// The settings of Google's own programs.
func TestGCSKeys(t *testing.T) {
	b := testkit.GCS(t)
	for _, name := range []string{"GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir()) // nor what gcloud left
	locate := func(opt Options, location string) error {
		t.Helper()
		p := New(opt)
		defer p.Close()
		_, err := p.Locate(t.Context(), location)
		return err
	}
	at := "gs://" + b.Name + "/none"
	if err := locate(Options{}, at); code(err) != serval.PermissionDenied || !strings.Contains(err.Error(), "GOOGLE_APPLICATION_CREDENTIALS") {
		t.Errorf("without keys: %v", err)
	}
	if err := locate(Options{}, at+"?anonymous=true&endpoint="+b.Endpoint); code(err) != serval.NotFound {
		t.Errorf("anonymous: %v", err)
	}
	file := filepath.Join(t.TempDir(), "key.json")
	for _, c := range [][2]string{{"", "cannot be read"}, {"{", "in JSON"}, {`{"type": "none"}`, "none"}, {`{"type": "service_account", "private_key": "hush"}`, ""}} {
		text, says := c[0], c[1]
		if text != "" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := locate(Options{GCS: GCS{Credentials: file, Endpoint: b.Endpoint}}, at)
		if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), says) {
			t.Errorf("with the key file %q: %v", text, err)
		}
	}
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(b.Endpoint, "http://"))
	if err := locate(Options{}, at); code(err) != serval.NotFound {
		t.Errorf("of an emulator: %v", err)
	}
}

// The settings of Azure's own programs.
func TestAzureKeys(t *testing.T) {
	b := testkit.Azure(t)
	names := []string{"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_DOMAIN",
		"AZURE_STORAGE_PROTOCOL", "AZURE_STORAGE_IS_LOCAL_EMULATOR"}
	u, err := url.Parse(b.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	emulator := []string{b.Account, "", "", "", u.Host, "http", "true"}
	keyed, signed, connected := slices.Clone(emulator), slices.Clone(emulator), make([]string, len(names))
	keyed[1], signed[2], connected[3] = b.Key, b.SAS(), b.Connection()
	own := Azure{Account: b.Account, Endpoint: b.Endpoint}
	key, sas, wrong, bad := own, own, own, own
	key.Key, sas.SAS, wrong.Key, bad.Key = b.Key, b.SAS(), "d3Jvbmc=", "wrong"
	at := "azblob://" + b.Name + "/none"
	for what, c := range map[string]struct {
		env  []string
		opt  Azure
		at   string
		want serval.Code
		says string
	}{
		"the account's key": {keyed, Azure{}, at, serval.NotFound, ""}, "a signature": {signed, Azure{}, at, serval.NotFound, ""},
		"a connection string": {connected, Azure{}, at, serval.NotFound, ""}, "a key that was configured": {nil, key, at, serval.NotFound, ""},
		"a signature that was configured": {nil, sas, at, serval.NotFound, ""}, "a wrong key": {nil, wrong, at, serval.PermissionDenied, "AZURE_STORAGE_KEY"},
		"a key that is none": {nil, bad, at, serval.InvalidArgument, "base64"}, "no account": {nil, Azure{}, at, serval.InvalidArgument, "AZURE_STORAGE_ACCOUNT"},
		"nobody":                           {nil, own, at + "?anonymous=true", serval.PermissionDenied, "refuses"},
		"a connection string that is none": {[]string{3: "AccountKey=hush"}, Azure{}, at, serval.InvalidArgument, "connection string"},
		"a key of the environment and an endpoint": {[]string{b.Account, b.Key}, Azure{}, at + "?endpoint=" + url.QueryEscape(b.Endpoint), serval.NotFound, ""},
		"a domain that is none of Azure's":         {[]string{b.Account, b.Key, 4: "example.org"}, Azure{}, at, serval.InvalidArgument, "example.org"},
	} {
		for i, name := range names {
			value := ""
			if i < len(c.env) {
				value = c.env[i]
			}
			t.Setenv(name, value)
		}
		p := New(Options{Azure: c.opt})
		_, err := p.Locate(t.Context(), c.at)
		if code(err) != c.want || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), b.Key) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "sig=") {
			t.Errorf("with %s: %v", what, err)
		}
		_ = p.Close()
	}
}

// TestAzureNames: what is uploaded has the name by which the driver reads and lists it, whatever Azure itself makes of such names.
func TestAzureNames(t *testing.T) {
	t.Parallel()
	a := testkit.Azure(t)
	z := Azure{Account: a.Account, Endpoint: a.Endpoint, Key: a.Key}
	b, err := z.open(t.Context(), bucketID{name: a.Name})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	keys := []string{"odd/plain", "odd/ü日 +&=.csv", `odd/back\slash`, "odd/a#b%20c?d\"e", "odd/up/../down", "odd/../", "odd/ends/", "odd/tab\tand\x7f", "odd/__0x5c__", "odd/__0x5c", "odd/ü/"}
	for _, key := range keys {
		if err := z.put(t.Context(), b, a.Name, key, f, 4); err != nil {
			t.Errorf("%q: %v", key, err)
			continue
		}
		got, err := b.ReadAll(t.Context(), key)
		want, failed := "text", b.WriteAll(t.Context(), key, []byte("driver"), nil)
		if err != nil || failed != nil || string(got) != want {
			t.Errorf("%q: %q, %v, %v", key, got, err, failed)
		}
		if err := z.put(t.Context(), b, a.Name, key, f, 4); err != nil {
			t.Errorf("%q, a second time: %v", key, err)
		}
		if got, err := b.ReadAll(t.Context(), key); err != nil || string(got) != want {
			t.Errorf("%q, over the driver's: %q, %v", key, got, err)
		}
	}
}
