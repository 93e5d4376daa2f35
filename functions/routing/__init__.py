"""consumes: InferenceRequested.
emits:    InferenceRouted, or InferenceCompleted (failed) where no model fits.
promises: an accepted request is routed or refused, never left lying."""
