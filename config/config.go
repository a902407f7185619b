package config

import (
	"time"

	"serval"
)

// Config is a serval.yaml: everything that a server can be told. Default says what holds where nothing is said.
type Config struct {
	Listen       string                          `yaml:"listen" doc:"address of the HTTP port"`
	GRPC         string                          `yaml:"grpc" doc:"address of the gRPC port; empty: none"`
	Admin        string                          `yaml:"admin" doc:"address for /metrics and profiles, on loopback; empty: none"`
	ModelDirs    []string                        `yaml:"model_dirs" doc:"folders with one folder for each model"`
	ModelName    string                          `yaml:"model_name" doc:"name of the model where a folder of model_dirs is itself one model; default: as its own files say, else the folder's"`
	ModelControl ModelControl                    `yaml:"model_control" doc:"which models are loaded when"`
	DataDir      string                          `yaml:"data_dir" doc:"where the server keeps what it fetched and made"`
	Store        string                          `yaml:"store" doc:"where the server keeps jobs and stored answers: sqlite, a file in data_dir; or postgres://user:password@host:5432/database, which several servers may share"`
	Batch        Batch                           `yaml:"batch" doc:"jobs over data sets"`
	Files        Files                           `yaml:"files" doc:"files that clients have kept here, and batches of requests in them"`
	Webhooks     map[string]Webhook              `yaml:"webhooks" doc:"servers that are told of the end of batches, by name"`
	Insecure     bool                            `yaml:"insecure" doc:"let other machines in though there are neither keys nor TLS"`
	TLS          TLS                             `yaml:"tls" doc:"certificate of the HTTP and gRPC ports"`
	Keys         []Key                           `yaml:"keys" doc:"API keys; without any, whoever reaches a port may do everything"`
	Limits       Limits                          `yaml:"limits" doc:"what one request and all of them together may take"`
	Log          Log                             `yaml:"log" doc:"the server's log"`
	Traces       Traces                          `yaml:"traces" doc:"OpenTelemetry traces; off without an endpoint"`
	Engines      map[string]any                  `yaml:"engines" doc:"options of the engines, by name"`
	Models       map[string]serval.ModelSettings `yaml:"models" doc:"settings by model name; they win over the model's own model.yaml"`
	Streams      map[string]Stream               `yaml:"streams" doc:"streams of messages that models answer, by name"`
	DrainTimeout time.Duration                   `yaml:"drain_timeout" doc:"how long a stopping server waits for the requests under way"`
	Control      bool                            `yaml:"control" doc:"allow clients to load and unload models and to change settings at run time"`

	// Plugins are what streams may name; for the schema.
	Plugins Plugins
}

// ModelControl says which models are loaded when.
type ModelControl struct {
	Mode string        `yaml:"mode" doc:"none: all at the start, and clients load and unload nothing; explicit: those of load at the start, and clients load and unload; poll: all, and what changes in the folders is loaded and unloaded, by nobody else; default: all at the start, and clients load and unload (see control)" enum:"none,explicit,poll"`
	Load []string      `yaml:"load" doc:"with mode explicit: the models to load at the start; [\"*\"]: all"`
	Poll time.Duration `yaml:"poll" doc:"with mode poll: how often the folders are looked at"`
}

// Batch says how jobs over data sets are run.
type Batch struct {
	Workers   int                 `yaml:"workers" doc:"pieces of jobs that this server works on at the same time; 0: none" min:"0" max:"256"`
	Dir       string              `yaml:"dir" doc:"folder, or s3://bucket/prefix, gs:// or azblob://, of results and of pieces that are done; servers that share a store share it, too; empty: jobs in data_dir"`
	Files     []string            `yaml:"files" doc:"folders that jobs may read from and write to; empty: any that the server may, unless places names a folder"`
	Places    []Place             `yaml:"places" doc:"what jobs may reach beside: folders, buckets, web servers, databases; none: no other place than files"`
	Schedules map[string]Schedule `yaml:"schedules" doc:"jobs that are made by themselves, by name: at times, or of objects that appear"`
	Keep      time.Duration       `yaml:"keep" doc:"how long a job that has ended is kept with its results, where it does not say; 0: until it is deleted"`
	Lease     time.Duration       `yaml:"lease" doc:"after how long without a sign of life a server's work is another's"`
}

// TLS names the files of a certificate; both or none.
type TLS struct {
	Cert string `yaml:"cert" doc:"PEM file of the certificate and its chain"`
	Key  string `yaml:"key" doc:"PEM file of the private key"`
}

// On says whether TLS is configured.
func (t TLS) On() bool { return t.Cert != "" && t.Key != "" }

// Key is one API key and what its holder may do.
type Key struct {
	Name   string    `yaml:"name" doc:"whose it is; requests, metrics and logs carry it as the tenant"`
	Hash   string    `yaml:"hash" doc:"sha256: and the key's SHA-256 in hexadecimal; 'serval config hash-key' makes it"`
	Access []string  `yaml:"access" doc:"what it may do: infer, read (metadata and statistics), control (load, unload, settings); default: infer and read" enum:"infer,read,control"`
	Limits KeyLimits `yaml:"limits" doc:"how much it may do"`
}

// KeyLimits bounds one key.
type KeyLimits struct {
	Rate  float64 `yaml:"rate" doc:"requests per second; 0: no limit" min:"0"`
	Burst int     `yaml:"burst" doc:"requests that may come at once; 0: as many as come in one second" min:"0"`
}

// Limits bounds the server's ports.
type Limits struct {
	MaxBody        Size          `yaml:"max_body" doc:"largest request, after decompression"`
	RequestTimeout time.Duration `yaml:"request_timeout" doc:"deadline of a request that brings none; 0: the model's queue.timeout alone"`
	AnswerTimeout  time.Duration `yaml:"answer_timeout" doc:"the same for a request that is answered with text, which takes as long as it has tokens"`
	HeaderTimeout  time.Duration `yaml:"header_timeout" doc:"how long a client may take to send a request's headers"`
	BodyTimeout    time.Duration `yaml:"body_timeout" doc:"how long a client may take to send a request's body, or to take in a mebibyte of its answer"`
	IdleTimeout    time.Duration `yaml:"idle_timeout" doc:"how long a connection may stay open without a request"`
	MaxConnections int           `yaml:"max_connections" doc:"most connections to a port; 0: no limit" min:"0"`
	MaxInFlight    int           `yaml:"max_in_flight" doc:"most requests under way over all models; 0: no limit but the models' queues" min:"0"`
}

// Log says what is logged, how and where.
type Log struct {
	Level  string `yaml:"level" doc:"least level that is logged" enum:"debug,info,warn,error"`
	Format string `yaml:"format" doc:"one line an event, as key=value or as JSON" enum:"text,json"`
	Access bool   `yaml:"access" doc:"one line for each request"`
	File   string `yaml:"file" doc:"file to append to; empty: standard error"`
}

// Traces says where traces go.
type Traces struct {
	Endpoint string            `yaml:"endpoint" doc:"the OTLP receiver: host:port or a URL; empty: no traces"`
	Protocol string            `yaml:"protocol" doc:"how OTLP is sent" enum:"http,grpc"`
	Sample   float64           `yaml:"sample" doc:"share of the requests that is traced, where the caller does not say" min:"0" max:"1"`
	Headers  map[string]string `yaml:"headers" doc:"headers sent along, such as a key"`
	Insecure bool              `yaml:"insecure" doc:"send without TLS"`
}

// Default is the configuration of a server that was told nothing.
func Default() *Config {
	return &Config{
		Listen:       "127.0.0.1:8080",
		GRPC:         "127.0.0.1:8081",
		Admin:        "127.0.0.1:8082",
		ModelDirs:    []string{"models"},
		DataDir:      "data",
		ModelControl: ModelControl{Poll: 15 * time.Second},
		Store:        "sqlite",
		Batch:        Batch{Workers: 1, Keep: 7 * 24 * time.Hour, Lease: 30 * time.Second},
		Files:        Files{MaxSize: 512 << 20, MaxTotal: 20 << 30, MaxRequests: 50000, MaxOpen: 200, Batches: 4, Keep: 30 * 24 * time.Hour},
		Limits: Limits{
			MaxBody:        64 << 20,
			RequestTimeout: 30 * time.Second,
			AnswerTimeout:  10 * time.Minute,
			HeaderTimeout:  10 * time.Second,
			BodyTimeout:    60 * time.Second,
			IdleTimeout:    120 * time.Second,
		},
		Log:          Log{Level: "info", Format: "text", Access: true},
		Traces:       Traces{Protocol: "http", Sample: 1},
		DrainTimeout: 30 * time.Second,
		Control:      true,
	}
}
