"""The whole platform on one machine: what the cloud's push, schedule and discovery do there."""
