package protocol

import (
	"context"
	"time"
)

// Response is a stored answer of the Responses API.
type Response struct {
	Tenant  string
	ID      string
	Created int64  // Unix seconds
	Open    bool   // it is to be answered in the background, and is not yet
	Body    []byte // the response as clients see it, JSON
	Request []byte // what it answers, JSON
}

// Responses keeps answers; a store implements it. What it acknowledged survives a kill. Safe for concurrent use.
type Responses interface {
	// PutResponse adds one.
	PutResponse(context.Context, *Response) error
	// UpdateResponse changes Open and Body of one that is there and still open; it reports false for any other.
	UpdateResponse(context.Context, *Response) (bool, error)
	// Response returns a tenant's, or a NotFound.
	Response(ctx context.Context, tenant, id string) (*Response, error)
	// DeleteResponse removes a tenant's, or is a NotFound.
	DeleteResponse(ctx context.Context, tenant, id string) error
	// OpenResponses are those of all tenants that are to be answered in the background, the oldest first; only Tenant, ID and
	// Created are set.
	OpenResponses(context.Context) ([]*Response, error)
}

// Claims is what a store of responses is beside that several processes share: one of them at a time answers an open response.
type Claims interface {
	// ClaimResponse takes an open response for a worker for so long, or prolongs what the worker has of it; with a lease of 0 it
	// lets go. False: another worker has it, or it is not open.
	ClaimResponse(ctx context.Context, tenant, id, worker string, lease time.Duration) (bool, error)
}
