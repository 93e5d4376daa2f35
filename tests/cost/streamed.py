"""Responses in the background whose events are wanted: begun, and followed to their end or left alone."""

import http.client
import time
from contextlib import closing

import msgspec

from tests.cost.load import MODEL, PROMPT

PATIENCE_S = 120.0


class Streamed:
    """Responses of so many tokens. `followed`: whether somebody reads them to their end."""

    def __init__(self, tokens: int, *, followed: bool) -> None:
        self._followed = followed
        self._took_s: list[float] = []
        asked = {"model": MODEL, "input": PROMPT, "max_output_tokens": tokens, "ignore_eos": True}
        self._body = msgspec.json.encode(asked | {"background": True, "stream": True})

    @property
    def way(self) -> str:
        """What was measured."""
        if not self._followed:
            return "streamed, nobody follows"
        return f"streamed, followed for {sum(self._took_s) / len(self._took_s):.1f} s"

    def begin(self, port: int, key: str) -> None:
        """One of them."""
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        began = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
            connection.request("POST", "/v1/responses", self._body, headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            if self._followed:
                assert b"event: response.incomplete" in answer.read()
                self._took_s.append(time.monotonic() - began)
