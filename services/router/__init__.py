"""The HTTPS hot path: authenticates, admits, routes, meters and relays synchronous requests."""
