"""Where a run takes place: the machine, the upstreams behind every gateway, the load before it."""
