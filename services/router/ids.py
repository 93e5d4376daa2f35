"""Ids an edge makes: random, so that they spread over any store."""

import secrets


def request_id() -> str:
    """The id of a request, 96 random bits."""
    return f"req_{secrets.token_hex(12)}"
