"""Ids an edge makes: random, so that they spread over any store."""

import os

SIZE = 12  # bytes of an id: 96 random bits
BLOCK = 256 * SIZE  # random bytes are asked of the system many at a time; each call costs a switch

_block = b""
_used = 0


def request_id() -> str:
    """The id of a request."""
    global _block, _used
    if _used == len(_block):
        _block, _used = os.urandom(BLOCK), 0
    start, _used = _used, _used + SIZE
    return f"req_{_block[start:_used].hex()}"
