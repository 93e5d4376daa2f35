"""Bringing messages to handlers: what follows is published before what was consumed is acknowledged."""
