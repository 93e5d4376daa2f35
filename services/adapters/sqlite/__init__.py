"""The state of a platform on one machine, in SQLite files."""
