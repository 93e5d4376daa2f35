"""Embeddings as OpenAI's wire has them."""

import base64
from array import array
from collections.abc import Sequence
from sys import byteorder

import msgspec

from services.rehearsal.asked.checks import Served
from services.rehearsal.asked.embeddings import EmbeddingRequest, vectors
from services.rehearsal.said.draft import Draft


class Embeddings:
    """Renders the answer to one request; see `Writer`. There is nothing to stream."""

    def __init__(self, request: EmbeddingRequest, draft: Draft, served: Served) -> None:
        self._request = request
        self._draft = draft
        self._served = served

    def whole(self) -> bytes:
        """See `Writer`."""
        spelled = in_base64 if self._request.encoding_format == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": spelled(made)}
            for index, made in enumerate(vectors(self._request, self._served))
        ]
        read = self._draft.prompt_tokens
        usage = {"prompt_tokens": read, "total_tokens": read}
        return msgspec.json.encode(
            {"object": "list", "data": data, "model": self._served.model, "usage": usage}
        )

    def tokens(self, start: int, end: int) -> bytes:
        """See `Writer`."""
        return b""

    def ending(self) -> bytes:
        """See `Writer`."""
        return b""


def in_base64(vector: Sequence[float]) -> str:
    """Its components as 32-bit floats, little end first."""
    floats = array("f", vector)
    if byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats).decode()
