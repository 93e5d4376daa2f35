"""Runs queued requests on the pool: claims them from the store by lane, fair share and deadline."""
