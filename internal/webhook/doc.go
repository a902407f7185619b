// Package webhook tells another server of something by a signed HTTP POST, after the Standard Webhooks scheme: the headers
// webhook-id, webhook-timestamp and webhook-signature, which OpenAI's clients, the standardwebhooks libraries and many
// products verify. It signs, verifies, and sends with time-outs, bounded retries and protection against addresses that
// callers should not reach through us.
//
// Called by stream/webhook and by the OpenAI protocol's batches. It imports the root and the standard library.
package webhook
