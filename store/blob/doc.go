// Package blob is where batch jobs read and write: paths and globs, s3://bucket/key*, http(s)://, and "-" for standard input. It
// implements batch's Locator, Object and Target, over gocloud.dev/blob for object stores. Called by cmd and server; it imports
// batch and the root.
//
// This build has S3's driver only: those of Google's and Azure's stores make the program 32 MB larger. Google's speaks S3's
// protocol too, and a blob of Azure is read by its https:// address with a signature.
package blob
