"""consumes: CacheOffered, CachePurged, InferenceCompleted, and the job sweep-cache.
emits:    nothing; the shared tier of the cache is the last stop.
promises: only sealed answers are kept, each until its time is over, for tenants that turned caching on."""
