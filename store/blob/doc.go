// Package blob is where batch jobs read and write: paths and globs, s3://, gs:// and azblob://, http(s)://, and "-" for standard input. It
// implements batch's Locator, Object and Target, over gocloud.dev/blob for object stores. Called by cmd and server; it imports
// batch and the root.
//
// address.go takes locations apart, bucket.go lists and opens objects, s3.go, gcs.go and azure.go are what differs between the clouds;
// object.go reads, across connections that drop, and target.go and upload.go write.
package blob
