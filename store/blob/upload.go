package blob

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	partBytes = 16 << 20 // of an upload in parts
	partMost  = 10_000   // that S3 takes
	partsAt   = 3        // once
	giveUp    = 30 * time.Second
)

// upload is a file on its way to S3, in parts: it is an object once the last call says so. The manager of AWS's SDK is not used,
// since it leaves the parts of an upload that is cancelled.
type upload struct {
	client      *s3.Client
	bucket, key string
	f           *os.File
	size, part  int64
	id          *string
	sum         types.ChecksumAlgorithm // of the parts; "": none
}

// run uploads all parts. What an earlier process left of an upload to the same key is removed first.
func (u *upload) run(ctx context.Context) (err error) {
	if err := u.sweep(ctx); err != nil {
		return err
	}
	if u.client.Options().RequestChecksumCalculation != aws.RequestChecksumCalculationWhenRequired {
		u.sum = types.ChecksumAlgorithmCrc32
	}
	if u.id, err = u.begin(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.abort(ctx, u.id))
		}
	}()
	parts := make([]types.CompletedPart, (u.size+u.part-1)/u.part)
	if err := u.parts(ctx, parts); err != nil {
		return err
	}
	_, err = u.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &u.bucket, Key: &u.key, UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	return err
}

// begin opens an upload, also where ctx ends meanwhile: what the store has begun without our hearing its name could not be removed.
func (u *upload) begin(ctx context.Context) (id *string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUp)
	defer cancel()
	begun, err := u.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &u.bucket, Key: &u.key,
		ContentType: aws.String("application/octet-stream"), ChecksumAlgorithm: u.sum})
	if err != nil {
		return nil, err
	}
	return begun.UploadId, nil
}

// parts uploads some parts at a time; the first error stops them all.
func (u *upload) parts(ctx context.Context, parts []types.CompletedPart) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(partsAt, len(parts)) {
		workers.Go(func() {
			for i := range next {
				n := int32(i + 1)
				off := int64(i) * u.part
				size := min(u.part, u.size-off)
				done, err := u.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &u.bucket, Key: &u.key, UploadId: u.id, PartNumber: &n,
					ChecksumAlgorithm: u.sum, Body: io.NewSectionReader(u.f, off, size), ContentLength: &size})
				if err != nil {
					cancel(err)
					continue
				}
				parts[i] = types.CompletedPart{ETag: done.ETag, PartNumber: &n, ChecksumCRC32: done.ChecksumCRC32}
			}
		})
	}
	for i := range parts {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}

// abort removes the parts of an upload, also after ctx was cancelled.
func (u *upload) abort(ctx context.Context, id *string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUp)
	defer cancel()
	_, err := u.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.bucket, Key: &u.key, UploadId: id})
	return err
}

// sweep gives up uploads to the same key that a killed process left. A store that does not list them has none for us.
func (u *upload) sweep(ctx context.Context) error {
	list, err := u.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &u.bucket, Prefix: &u.key})
	if err != nil {
		return nil // to list uploads takes a right that to write does not
	}
	for _, old := range list.Uploads {
		if aws.ToString(old.Key) == u.key {
			if err := u.abort(ctx, old.UploadId); err != nil {
				return err
			}
		}
	}
	return nil
}
