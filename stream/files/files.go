package files

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"serval"
	"serval/batch/parquet"
	"serval/store/blob"
	"serval/stream"
)

// Broker is the plug-in. It is safe for concurrent use.
type Broker struct{}

var _ stream.Broker = Broker{}

// New makes it.
func New() Broker { return Broker{} }

// Name is "files".
func (Broker) Name() string { return "files" }

// SourceOptions are none: batch jobs read files.
func (Broker) SourceOptions() any { return nil }

// TargetOptions are the defaults of what is written.
func (Broker) TargetOptions() any { return defaults() }

// TargetOptions say what is written, and where.
type TargetOptions struct {
	Path        string            `yaml:"path" doc:"the folder that files are written to: a path, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix; {date}, {hour}, {year}, {month}, {day}, {stream} and {topic} in it make folders below, as in s3://lake/scores/date={date}"`
	Format      string            `yaml:"format" doc:"parquet or jsonl" enum:"parquet,jsonl"`
	Compression string            `yaml:"compression" doc:"of parquet: zstd (default), snappy, gzip or none; of jsonl: none (default) or gzip" enum:"zstd,snappy,gzip,none"`
	Columns     map[string]string `yaml:"columns" doc:"of parquet: column → type (bool, int, float, text or json), and no other columns than these and the metadata; default: every field of the messages, with the type it is seen to have"`
	Metadata    bool              `yaml:"metadata" doc:"whether rows say where they come from: _key, _topic, _partition and _offset or _id, _time, _headers"`
	Clock       string            `yaml:"clock" doc:"which time {date} and its like are of: when the message was made, or when it is written; in UTC" enum:"message,server"`
	RollEvery   time.Duration     `yaml:"roll_every" doc:"files are finished after so long; what is in them is acked only then"`
	RollRows    int               `yaml:"roll_rows" doc:"files are finished when so many rows wait; 0: when half of the stream's max_in_flight do" min:"0"`
	RollBytes   int64             `yaml:"roll_bytes" doc:"files are finished when so many bytes wait; 0: when half of the stream's max_in_flight_bytes do" min:"0"`
	S3          S3                `yaml:"s3" doc:"where s3:// is, and with which keys; default: as AWS's own programs find it"`
	GCS         GCS               `yaml:"gcs" doc:"where gs:// is, and with which keys; default: as Google's own programs find it"`
	Azure       Azure             `yaml:"azure" doc:"where azblob:// is, and with which keys; default: as Azure's own programs find it"`
}

// GCS is Google's store, or one that speaks its protocol.
type GCS struct {
	Endpoint    string `yaml:"endpoint" doc:"of a store that is not Google's, as https://host"`
	Credentials string `yaml:"credentials" doc:"path of a service account's key file; default: GOOGLE_APPLICATION_CREDENTIALS, or the machine's account"`
	Anonymous   bool   `yaml:"anonymous" doc:"without keys, as a test's store is written to"`
}

// Azure is an account of Azure's store.
type Azure struct {
	Account    string `yaml:"account" doc:"whose container; default: AZURE_STORAGE_ACCOUNT"`
	Endpoint   string `yaml:"endpoint" doc:"of the account; default: https://ACCOUNT.blob.core.windows.net"`
	AccountKey string `yaml:"account_key" doc:"its key; write ${NAME} to take it from the environment"`
	SAS        string `yaml:"sas" doc:"a shared access signature, in place of account_key"`
}

// S3 is a store that speaks S3's protocol.
type S3 struct {
	Endpoint  string `yaml:"endpoint" doc:"of a store that is not Amazon's, as https://host"`
	Region    string `yaml:"region" doc:"its region"`
	AccessKey string `yaml:"access_key" doc:"the key's name; write ${NAME} to take it from the environment"`
	SecretKey string `yaml:"secret_key" doc:"the key; write ${NAME} to take it from the environment"`
}

func defaults() *TargetOptions {
	return &TargetOptions{Format: "parquet", Metadata: true, Clock: "message", RollEvery: time.Minute}
}

func bad(field, format string, args ...any) error {
	return serval.Errorf(serval.InvalidArgument, "files: "+field+" "+format, args...).At(field)
}

// Check implements stream.Broker.
func (Broker) Check(options any) error {
	o, ok := options.(*TargetOptions)
	if !ok {
		return wrong(options)
	}
	if _, err := parsePath(o.Path); err != nil {
		return err
	}
	if o.RollEvery <= 0 {
		return bad("roll_every", "is %v; it must be above 0, such as 1m: nothing is acked before a file is finished", o.RollEvery)
	}
	switch o.Format {
	case "parquet":
	case "jsonl":
		if len(o.Columns) > 0 {
			return bad("columns", "are of format parquet; a line of jsonl is the message's value")
		}
		if c := o.Compression; c != "" && c != "none" && c != "gzip" {
			return bad("compression", "is %q; jsonl has none or gzip", c)
		}
	default:
		return bad("format", "is %q; use parquet or jsonl", o.Format)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Columns)) {
		if _, ok := typeNames[o.Columns[name]]; !ok || name == "" || slices.Contains(metadata[:], name) {
			return bad("columns", "has %q: %q; write a name that is none of %s, and a type: bool, int, float, text or json", name, o.Columns[name], strings.Join(metadata[:], ", "))
		}
	}
	if s := o.S3; (s.AccessKey == "") != (s.SecretKey == "") {
		return bad("s3", "has only one of access_key and secret_key; set both or neither")
	}
	switch z := o.Azure; {
	case z.AccountKey != "" && z.SAS != "":
		return bad("azure", "has both account_key and sas; set one of them")
	case z.AccountKey != "" && z.Account == "":
		return bad("azure", "has an account_key, and no account whose it is")
	}
	return nil
}

// Say names a place.
func (Broker) Say(options any) string {
	if o, ok := options.(*TargetOptions); ok {
		return "files " + o.Path
	}
	return "files"
}

// Source implements stream.Broker: there is none.
func (Broker) Source(context.Context, any, stream.Env) (stream.Source, error) {
	return nil, serval.Errorf(serval.Unimplemented, "files are read by batch jobs, not by streams")
}

// Target writes files. That the store cannot be reached is no error yet.
func (b Broker) Target(_ context.Context, options any, env stream.Env) (stream.Target, error) {
	if err := b.Check(options); err != nil {
		return nil, err
	}
	o := options.(*TargetOptions)
	t := &target{opt: o, env: env, groups: map[groupKey]*group{}}
	t.path, _ = parsePath(o.Path) // Check has done so
	t.schema = newSchema(o.Columns)
	t.places = blob.New(blob.Options{
		S3:    blob.S3{Endpoint: o.S3.Endpoint, Region: o.S3.Region, AccessKey: o.S3.AccessKey, SecretKey: o.S3.SecretKey},
		GCS:   blob.GCS{Endpoint: o.GCS.Endpoint, Credentials: o.GCS.Credentials, Anonymous: o.GCS.Anonymous},
		Azure: blob.Azure{Account: o.Azure.Account, Endpoint: o.Azure.Endpoint, Key: o.Azure.AccountKey, SAS: o.Azure.SAS},
	})
	t.parquet = map[string]string{}
	if o.Compression != "" {
		t.parquet["compression"] = o.Compression
	}
	return t, t.clean()
}

// extension is the end of a file's name.
func (o *TargetOptions) extension() string {
	switch {
	case o.Format == "parquet":
		return parquet.Format{}.Extensions()[0]
	case o.Compression == "gzip":
		return ".jsonl.gz"
	}
	return ".jsonl"
}

func wrong(options any) error {
	return fmt.Errorf("files: %T are not its options (this is a bug)", options)
}
