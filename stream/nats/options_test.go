package nats

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serval"
)

// TestCheck: what is wrong is named by its field, with what to do.
func TestCheck(t *testing.T) {
	in := func(change func(*SourceOptions)) any {
		o := defaultSource()
		o.Stream = "applicants"
		change(o)
		return o
	}
	out := func(change func(*TargetOptions)) any {
		o := defaultTarget()
		o.Subject = "scores"
		change(o)
		return o
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for name, c := range map[string]struct {
		options any
		field   string
		words   string
	}{
		"no stream":          {in(func(o *SourceOptions) { o.Stream = "" }), "stream", "is missing"},
		"stream":             {in(func(o *SourceOptions) { o.Stream = "a.b" }), "stream", "a-z"},
		"consumer":           {in(func(o *SourceOptions) { o.Consumer = "a b" }), "consumer", "a-z"},
		"subjects":           {in(func(o *SourceOptions) { o.Subjects = []string{"a..b"} }), "subjects", "tokens"},
		"wildcard":           {in(func(o *SourceOptions) { o.Subjects = []string{"a.>.b"} }), "subjects", "tokens"},
		"partitions":         {in(func(o *SourceOptions) { o.Subjects = []string{"a.{partition}.>"} }), "partitions", "is missing"},
		"no partition":       {in(func(o *SourceOptions) { o.Partitions = 4 }), "partitions", "{partition}"},
		"partitions, none":   {in(func(o *SourceOptions) { o.Subjects, o.Partitions, o.Order = []string{"a.{partition}.>"}, 4, "none" }), "order", "*"},
		"start":              {in(func(o *SourceOptions) { o.Start = "yesterday" }), "start", "new"},
		"ack_wait":           {in(func(o *SourceOptions) { o.AckWait = time.Millisecond }), "ack_wait", "1s"},
		"lease":              {in(func(o *SourceOptions) { o.Lease = time.Millisecond }), "lease", "500ms"},
		"replicas":           {in(func(o *SourceOptions) { o.Make.Replicas = 2 }), "make.replicas", "3"},
		"max_age":            {in(func(o *SourceOptions) { o.Make.MaxAge = time.Millisecond }), "make.max_age", "1s"},
		"duplicates":         {in(func(o *SourceOptions) { o.Make.MaxAge = time.Minute }), "make.duplicates", "max_age"},
		"no subject":         {out(func(o *TargetOptions) { o.Subject = "" }), "subject", "is missing"},
		"published wildcard": {out(func(o *TargetOptions) { o.Subject = "scores.>" }), "subject", "wildcards"},
		"key first":          {out(func(o *TargetOptions) { o.Subject = "{key}.scores" }), "subject", "begin it"},
		"key in a token":     {out(func(o *TargetOptions) { o.Subject = "scores.a{key}" }), "subject", "of its own"},
		"ack_timeout":        {out(func(o *TargetOptions) { o.AckTimeout = time.Millisecond }), "ack_timeout", "100ms"},
		"user":               {out(func(o *TargetOptions) { o.User = "u" }), "user", "embedded.user"},
		"tls":                {out(func(o *TargetOptions) { o.TLS.On = true }), "tls", "embedded.cert"},
		"urls":               {out(func(o *TargetOptions) { o.URLs = []string{"nats-1:4222"} }), "urls", "nats://"},
		"secret in a url":    {out(func(o *TargetOptions) { o.URLs = []string{"http://u:secret@h"} }), "urls", "nats://"},
		"both":               {out(func(o *TargetOptions) { o.URLs, o.Embedded.Sync = []string{"nats://h:1"}, true }), "embedded", "urls"},
		"password":           {out(func(o *TargetOptions) { o.URLs, o.User = []string{"nats://h:1"}, "u" }), "user", "password"},
		"two ways":           {out(func(o *TargetOptions) { o.URLs, o.User, o.Password, o.Token = []string{"nats://h:1"}, "u", "p", "t" }), "token", "one of them"},
		"creds":              {out(func(o *TargetOptions) { o.URLs, o.Creds = []string{"nats://h:1"}, missing }), "creds", "cannot be read"},
		"nkey":               {out(func(o *TargetOptions) { o.URLs, o.NKey = []string{"nats://h:1"}, missing }), "nkey", "cannot be used"},
		"tls off":            {out(func(o *TargetOptions) { o.URLs, o.TLS.CA = []string{"nats://h:1"}, missing }), "tls", "on: true"},
		"ca":                 {out(func(o *TargetOptions) { o.URLs, o.TLS = []string{"nats://h:1"}, TLS{On: true, CA: missing} }), "tls.ca", "cannot be read"},
		"cert":               {out(func(o *TargetOptions) { o.URLs, o.TLS = []string{"nats://h:1"}, TLS{On: true, Cert: missing} }), "tls.cert", "key belong together"},
		"listen":             {out(func(o *TargetOptions) { o.Embedded.Listen = "4222" }), "embedded.listen", "host:port"},
		"open to all":        {out(func(o *TargetOptions) { o.Embedded.Listen = "0.0.0.0:4222" }), "embedded.listen", "embedded.user"},
		"embedded password":  {out(func(o *TargetOptions) { o.Embedded.User = "u" }), "embedded.user", "both"},
		"embedded token":     {out(func(o *TargetOptions) { o.Embedded = Embedded{User: "u", Password: "p", Token: "t"} }), "embedded.token", "one of them"},
		"embedded cert":      {out(func(o *TargetOptions) { o.Embedded.Cert = "c" }), "embedded.cert", "both"},
	} {
		err := New().Check(c.options)
		var e *serval.Error
		if !errors.As(err, &e) || e.Code != serval.InvalidArgument || e.Param != c.field || !strings.Contains(e.Message, c.words) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: it shows a password: %v", name, err)
		}
	}
	for name, options := range map[string]any{
		"source": in(func(*SourceOptions) {}), "target": out(func(*TargetOptions) {}), "key": out(func(o *TargetOptions) { o.Subject = "scores.{key}.new" }),
		"subjects":   in(func(o *SourceOptions) { o.Subjects, o.Partitions = []string{"a.{partition}.*", "b"}, 4 }),
		"guarded":    out(func(o *TargetOptions) { o.Embedded = Embedded{Listen: "0.0.0.0:4222", Token: "t"} }),
		"not at all": out(func(o *TargetOptions) { o.Embedded.Listen = "off" }), "time": in(func(o *SourceOptions) { o.Start = "2026-11-27T08:00:00Z" }),
		"external": out(func(o *TargetOptions) { o.URLs, o.User, o.Password = []string{"nats://h:1", "tls://i:2"}, "u", "p" }),
	} {
		if err := New().Check(options); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := New().Check(3); err == nil {
		t.Error("a number is options")
	}
}

// TestAgree: what several streams say of the one embedded server must fit together.
func TestAgree(t *testing.T) {
	b := New()
	say := func(e Embedded) error {
		o := defaultTarget()
		o.Subject, o.Embedded = "scores", e
		before := b.settings
		checked := b.Check(o)
		if b.settings != before {
			t.Errorf("to check %+v has changed the settings", e)
		}
		if settled := b.Settle(o); (settled == nil) != (checked == nil) {
			t.Errorf("checked %v, settled %v", checked, settled)
		}
		return checked
	}
	for _, e := range []Embedded{{}, {Listen: "127.0.0.1:5000"}, {}, {Token: "t", Listen: "127.0.0.1:5000"}, {MaxStorage: 1 << 30}} {
		if err := say(e); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
	for _, e := range []Embedded{{Listen: "127.0.0.1:5001"}, {Token: "u"}, {User: "u", Password: "p"}} {
		if err := say(e); err == nil {
			t.Errorf("%+v is taken", e)
		}
	}
	if want := (Embedded{Listen: "127.0.0.1:5000", Token: "t", MaxStorage: 1 << 30}); b.settings != want {
		t.Errorf("settings %+v", b.settings)
	}
}

func TestExternalFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&TLS{On: true, CA: file}).config(); err == nil || !strings.Contains(err.Error(), "no PEM certificate") {
		t.Error(err)
	}
	if _, err := (&TLS{On: true, Cert: file, Key: file}).config(); err == nil || !strings.Contains(err.Error(), "cannot be used") {
		t.Error(err)
	}
}
