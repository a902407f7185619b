// Package webhook is the target that posts each message to a web server, signed after the Standard Webhooks scheme. A message has
// the same webhook-id whenever it is sent, so a receiver knows one that comes again.
//
// Messages of one key, and those without a key of one partition, are sent one after the other; others together, up to a limit.
// What the receiver refuses (4xx) becomes a dead letter; for what it cannot do now (408, 425, 429, 5xx, no answer in time) the
// stream waits, as long as Retry-After says, and tries again.
//
// Called through stream/all. It imports stream and internal/webhook, which signs and sends.
package webhook
