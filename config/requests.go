package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files says what files clients may have kept, and how their batches are done: OpenAI's Files and Batches.
type Files struct {
	Dir         string        `yaml:"dir" doc:"folder of clients' files and of unfinished batches; servers that share a store share it, too; empty: files in batch.dir, where that is a folder, else in data_dir"`
	MaxSize     Size          `yaml:"max_size" doc:"largest file that a client may upload"`
	MaxTotal    Size          `yaml:"max_total" doc:"how much the files of one key may take together; 0: no limit"`
	MaxRequests int           `yaml:"max_requests" doc:"most requests of one batch" min:"1" max:"10000000"`
	MaxOpen     int           `yaml:"max_open" doc:"most batches of one key that have not ended; one more is refused with 429; 0: no limit" min:"0"`
	Batches     int           `yaml:"batches" doc:"batches that this server works on at the same time; 0: none" min:"0" max:"256"`
	Keep        time.Duration `yaml:"keep" doc:"how long files of the purposes batch and batch_output, and batches that have ended, are kept, where the client does not say; 0: until they are deleted"`
}

// Webhook is a server that is told of the end of batches.
type Webhook struct {
	URL    string        `yaml:"url" doc:"where events are posted: an http or https URL"`
	Secret string        `yaml:"secret" doc:"signs them after the Standard Webhooks scheme, as OpenAI's clients check it: whsec_ and base64; write ${NAME} to take it from the environment"`
	Events []string      `yaml:"events" doc:"which of them; default: all. A webhook of none ([none]) is told of what names it alone, by metadata.webhook_id or webhook_id" enum:"batch.completed,batch.failed,batch.expired,batch.cancelled,none"`
	Keys   []string      `yaml:"keys" doc:"names of the keys whose batches it is told of; default: all"`
	GiveUp time.Duration `yaml:"give_up" doc:"how long an event is sent again that is not taken; 0: 72h"`
}

// requests checks files and webhooks.
func (k *check) requests(c *Config) {
	if c.Files.MaxSize == 0 {
		k.fail("files.max_size", "is 0, so no file would be taken; write a size such as 512MiB")
	}
	if c.Files.Dir != "" && strings.Contains(c.Files.Dir, "://") {
		k.fail("files.dir", "must be a folder, not %s: what is appended to cannot lie in a bucket", quote(c.Files.Dir))
	}
	for name, h := range c.Webhooks {
		path := join("webhooks", name)
		u, err := url.Parse(h.URL) // it may hold a secret, so it is not shown
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			k.fail(join(path, "url"), "must be an http or https URL such as https://host/path")
		}
		if h.Secret == "" {
			k.fail(join(path, "secret"), "is missing; make one with: echo whsec_$(openssl rand -base64 32)")
		}
		for i, e := range h.Events {
			k.oneOf(element(join(path, "events"), i), e, "batch.completed", "batch.failed", "batch.expired", "batch.cancelled", "none")
		}
		for i, key := range h.Keys {
			if !slices.ContainsFunc(c.Keys, func(k Key) bool { return k.Name == key }) {
				k.fail(element(join(path, "keys"), i), "%s: there is no key of that name", quote(key))
			}
		}
		if h.GiveUp < 0 {
			k.fail(join(path, "give_up"), "must not be negative, is %s", h.GiveUp)
		}
	}
}

// FilesDir is where clients' files lie.
func (c *Config) FilesDir() string {
	switch {
	case c.Files.Dir != "":
		return c.Files.Dir
	case c.Batch.Dir != "" && !strings.Contains(c.Batch.Dir, "://"):
		return filepath.Join(c.Batch.Dir, "files")
	}
	return filepath.Join(c.DataDir, "files")
}
