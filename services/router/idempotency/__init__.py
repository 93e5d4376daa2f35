"""Calls with an `Idempotency-Key`: answered once, and told again to whoever retries them."""
