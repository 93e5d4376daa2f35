"""The side-by-side benchmark: the platform and other gateways, in one run on one machine."""
