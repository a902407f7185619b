package sqs

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"serval"
)

// callTimeout bounds every request but those that wait for messages.
const callTimeout = 20 * time.Second

// queue is a queue that is looked for when it is first needed, and again when it was not there. Safe for concurrent use.
type queue struct {
	cl      *sqs.Client
	name    string
	account string
	fifo    bool
	fixed   bool // its URL was given

	mu  sync.Mutex // guards url
	url string     // "": not known
}

// open makes the client. It reaches nobody.
func (c *Connection) open(ctx context.Context) (*queue, error) {
	q := &queue{name: c.name(), account: c.Account, fifo: strings.HasSuffix(c.name(), fifoSuffix)}
	region, endpoint := c.Region, c.Endpoint
	if c.isURL() {
		q.url, q.fixed = c.Queue, true
		u, _ := isHTTP(c.Queue) // it was checked
		endpoint = cmp.Or(endpoint, u.Scheme+"://"+u.Host)
		if m := hostRegion.FindStringSubmatch(u.Hostname()); m != nil {
			region = cmp.Or(region, m[1], m[2])
		}
	}
	set := []func(*config.LoadOptions) error{config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 128 // as many as there are requests at the same time
	}))}
	if region != "" {
		set = append(set, config.WithRegion(region))
	}
	switch {
	case c.Anonymous:
		set = append(set, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case c.AccessKey != "":
		set = append(set, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken)))
	case c.Profile != "":
		set = append(set, config.WithSharedConfigProfile(c.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, set...)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "sqs: the configuration of AWS cannot be read: %w", err)
	}
	q.cl = sqs.NewFromConfig(cfg, func(o *sqs.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
		if o.Region == "" && o.BaseEndpoint != nil {
			o.Region = "us-east-1" // which a server that is compatible does not look at
		}
	})
	if q.cl.Options().Region == "" {
		return nil, bad("region", "is missing; set it, or AWS_REGION, or give the queue's URL")
	}
	return q, nil
}

// at is the queue's URL.
func (q *queue) at(ctx context.Context) (*string, error) {
	q.mu.Lock()
	url := q.url
	q.mu.Unlock()
	if url != "" {
		return &url, nil
	}
	in := &sqs.GetQueueUrlInput{QueueName: &q.name}
	if q.account != "" {
		in.QueueOwnerAWSAccountId = &q.account
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := q.cl.GetQueueUrl(ctx, in)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.url = aws.ToString(out.QueueUrl)
	q.mu.Unlock()
	return out.QueueUrl, nil
}

// code is the word that SQS has for an error; "": it is none of SQS's.
func code(err error) string {
	var api interface{ ErrorCode() string }
	if !errors.As(err, &api) {
		return ""
	}
	return word(api.ErrorCode())
}

// word is a code without what stands before some of them.
func word(code string) string {
	return strings.TrimPrefix(code[strings.LastIndexByte(code, '#')+1:], "AWS.SimpleQueueService.")
}

// class is an error of a request as one of ours, and forgets a queue that is not there.
func (q *queue) class(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	switch c := code(err); c {
	case "QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently":
		if !q.fixed {
			q.mu.Lock()
			q.url = ""
			q.mu.Unlock()
		}
		return serval.Errorf(serval.NotFound, "sqs: the queue '%s' does not exist, or not in this region or account; create it, and the stream goes on", q.name).Because(err)
	case "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException", "IncompleteSignature", "InvalidSecurity", "OptInRequired", "ExpiredToken",
		"ExpiredTokenException", "KmsAccessDenied", "InvalidAddress":
		return serval.Errorf(serval.PermissionDenied, "sqs: queue '%s': the keys may not do this: %w", q.name, err)
	case "OverLimit":
		return serval.Errorf(serval.ResourceExhausted, "sqs: queue '%s': too many messages are in flight at all workers together; SQS gives more when some are done: %w", q.name, err)
	case "":
		if strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "credentials found") { // the SDK has no error of its own for it
			return serval.Errorf(serval.PermissionDenied, "sqs: there are no keys; set access_key and secret_key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "+
				"or anonymous: true for a server that wants none").Because(err)
		}
	}
	return serval.Errorf(serval.Unavailable, "sqs: queue '%s': %w", q.name, err)
}
