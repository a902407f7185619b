package protocol

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"serval"
)

// Protocol is one dialect. It is made by its package's New with a Backend and its own Options.
type Protocol interface {
	// Name is the word that configuration and metrics use: "oip".
	Name() string
	// Routes are its HTTP routes; may be nil.
	Routes() []Route
	// Register adds its gRPC services; a protocol without any does nothing.
	Register(grpc.ServiceRegistrar)
}

// Worker is a Protocol that works on its own beside its requests. Run is called once, after the first load, and returns when
// ctx has ended.
type Worker interface {
	Run(context.Context)
}

// Access says who may call a route.
type Access uint8

// The kinds of access. Infer routes build a Request and leave the check to the chain (gateway); the server itself checks
// Read and Control before it calls the route.
const (
	Public  Access = iota // health: everybody
	Infer                 // checked by the chain, by Request.Credential
	Read                  // metadata and statistics: any known key
	Control               // load, unload, settings: a key that may
)

// Route is one HTTP route. Pattern is http.ServeMux's, with the method: "POST /v2/models/{model}/infer".
type Route struct {
	Pattern string
	Access  Access
	Serve   http.HandlerFunc
	Fail    Fail // writes an error in this route's dialect, also for what the server refuses before Serve
}

// Fail writes an error as the protocol's clients expect it.
type Fail func(http.ResponseWriter, *http.Request, *serval.Error)

// Backend is all that a protocol may ask of the server.
type Backend struct {
	Handler serval.Handler // the chain: gateway, route, task, schedule
	Models  Models
	Control Repository
	Puller  Puller // nil: clients cannot have models fetched
	Config  Limits
	Version string // of the server
	// Settings that clients may read and change at run time.
	Logging  Settings
	Tracing  Settings
	Draining func() bool
	// Responses keeps answers; nil: there is nowhere to.
	Responses Responses
	// Files keeps clients' files, and Batches answers those with requests; nil: there is nowhere to.
	Files   Files
	Batches Batches
	// Streams are the server's streams of messages.
	Streams Streams
	// Caller is the owner of any key that is known.
	Caller func(credential string) (string, *serval.Error)
	// Tenant is the owner of a key, as requests with it have; an error for a key that may not infer.
	Tenant func(credential string) (string, *serval.Error)
	// Admit is Tenant for a request that is answered later: it is taken from the key's rate.
	Admit func(credential string) (string, *serval.Error)
	// As is the chain for what a tenant asked for earlier, without its key.
	As       func(tenant string) serval.Handler
	Stopping <-chan struct{} // closed when the server begins to drain; nil: it never does
}

// Limits bound what a protocol reads.
type Limits struct {
	MaxBody int64 // bytes of a request, after decompression
}

// Models is what is known of the models; it is safe for concurrent use and cheap.
type Models interface {
	// Model describes one version; an empty version is the default one. The error is a NotFound that names what exists.
	Model(serval.Ref) (serval.ModelInfo, error)
	// List describes every version of every model, also those that failed, ordered by name and version.
	List() []serval.ModelInfo
	// Stats of one version.
	Stats(serval.Ref) (serval.Stats, error)
	// Ready says whether the server takes requests and every model that should be served is.
	Ready() bool
}

// Streams is what protocols may know of the streams of messages.
type Streams interface {
	// Backlog is how many messages of a stream are not answered yet, of all servers that share it.
	Backlog(ctx context.Context, stream string) (int64, error)
}

// Repository changes which models are served. Calls return when the change has taken effect or failed.
type Repository interface {
	// Load loads a model, or loads it anew; override, if not nil, replaces its settings.
	Load(ctx context.Context, name string, override *serval.ModelSettings) error
	// Unload drains and unloads every version of a model.
	Unload(ctx context.Context, name string) error
}

// Puller fetches models for clients who may load them, from places whose hosts the operator chose.
type Puller interface {
	// ModelName is what a model from that source is called here; an InvalidArgument says why there is none.
	ModelName(source string) (string, error)
	// Pull puts the model into the models folder, unless it is there, and loads it. progress is called now and then, from another
	// goroutine, and not any more once Pull returned: the sha256 of the model's file, "" where it is not known, and how many bytes
	// are there, of how many.
	Pull(ctx context.Context, source string, progress func(sha256 string, done, total int64)) error
}

// Settings are named values that a client may read and change: Triton's trace and log settings.
type Settings interface {
	Get(model string) map[string]any
	// Set changes the named values and returns all of them; an unknown name or a wrong value is an InvalidArgument and
	// changes nothing.
	Set(model string, values map[string]any) (map[string]any, error)
}

// Credential reads the caller's key from a request: Authorization: Bearer, x-api-key, api-key; "" if there is none.
func Credential(h http.Header) string {
	if a := h["Authorization"]; len(a) > 0 {
		const bearer = "bearer "
		if v := a[0]; len(v) > len(bearer) && equalFold(v[:len(bearer)], bearer) {
			return v[len(bearer):]
		}
	}
	for _, name := range [...]string{"X-Api-Key", "Api-Key"} {
		if v := h[name]; len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// Trace reads the W3C traceparent of a request; "" if there is none.
func Trace(h http.Header) string {
	if v := h["Traceparent"]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func equalFold(s, lower string) bool {
	for i := range len(lower) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// RetryAfter is the value of the Retry-After header for d: whole seconds, at least 1.
func RetryAfter(d time.Duration) int {
	return max(1, int((d+time.Second-1)/time.Second))
}
