"""Google Cloud Scheduler: the catalogue's jobs, started by Google's clock through their topics."""
