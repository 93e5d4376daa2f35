"""consumes: a message on a tenant's ingest topic.
emits:    InferenceRequested, or InferenceCompleted (failed) where it is refused.
promises: one message (or one idempotency key) makes one request, whatever is redelivered."""
