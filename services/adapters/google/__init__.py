"""Google's own credentials of a process, by google-auth."""
