package blob

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"serval"
)

// S3 is where s3:// finds its buckets, and with which keys, named as in registry/source. What is empty is found as AWS's own
// programs find it: environment, shared files, the machine's role.
type S3 struct {
	Endpoint     string // of a store that is compatible; "" = Amazon's, in Region
	Region       string // "" = as configured, else us-east-1
	AccessKey    string
	SecretKey    string
	SessionToken string
	Anonymous    bool // requests are not signed: a public bucket needs no keys
}

func (s S3) open(ctx context.Context, id bucketID) (*blob.Bucket, error) {
	endpoint, region := cmp.Or(id.endpoint, s.Endpoint), cmp.Or(id.region, s.Region)
	if (s.AccessKey == "") != (s.SecretKey == "") {
		return nil, serval.Errorf(serval.InvalidArgument, "s3: set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither").At("AWS_ACCESS_KEY_ID")
	}
	var set []func(*config.LoadOptions) error
	if region != "" {
		set = append(set, config.WithRegion(region))
	}
	switch {
	case id.anonymous || s.Anonymous:
		set = append(set, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case s.AccessKey != "":
		set = append(set, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, s.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, set...)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "s3: the configuration of AWS cannot be read: %w", err).At("input")
	}
	cfg.Region = cmp.Or(cfg.Region, "us-east-1")
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
		o.UsePathStyle = o.BaseEndpoint != nil // which every store understands
		if o.BaseEndpoint != nil {             // not every store knows the newer checksums
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	return s3blob.OpenBucket(ctx, client, id.name, nil)
}

func (S3) version(as func(any) bool) string {
	var (
		listed types.Object
		asked  s3.HeadObjectOutput
		read   s3.GetObjectOutput
	)
	switch {
	case as(&listed):
		return aws.ToString(listed.ETag)
	case as(&asked):
		return aws.ToString(asked.ETag)
	case as(&read):
		return aws.ToString(read.ETag)
	}
	return ""
}

func (S3) pin(ctx context.Context, version string) (context.Context, func(as func(any) bool) error) {
	return ctx, func(as func(any) bool) error {
		var in *s3.GetObjectInput
		if as(&in) && version != "" {
			in.IfMatch = aws.String(version)
		}
		return nil
	}
}

func (S3) put(ctx context.Context, b *blob.Bucket, in, key string, f *os.File, size int64) error {
	var client *s3.Client
	if !b.As(&client) {
		return serval.Errorf(serval.Internal, "s3://%s: no store of S3's kind", in)
	}
	if size <= partBytes {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &in, Key: &key, Body: f, ContentLength: &size, ContentType: aws.String(octets)})
		return err
	}
	u := upload{client: client, bucket: in, key: key, f: f, size: size, part: max(partBytes, (size+partMost-1)/partMost)}
	return u.run(ctx)
}

func (S3) judge(err error) verdict {
	v := general(err)
	var api interface{ ErrorCode() string } // of AWS's SDK, where it is used without gocloud
	if v == unknown && errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchBucket", "NoSuchKey", "NotFound":
			return missing
		case "AccessDenied", "Forbidden", "SignatureDoesNotMatch", "InvalidAccessKeyId":
			return refused
		}
	}
	if v == unknown && strings.Contains(err.Error(), "get credentials") { // the SDK has no error of its own for it
		return keyless
	}
	return v
}
