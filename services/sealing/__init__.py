"""Bodies at rest: sealed under a key of their tenant, which is itself wrapped by a master key."""
