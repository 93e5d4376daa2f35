"""Requests as the engine reads them: what it honours, and what it refuses."""
