"""`/admin/v1/config`: the configuration document in force, and another one in its place, for operators."""

from collections.abc import Mapping
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from events.config import Config
from events.words import Invalid
from services.configuration.feed import Published, Served
from services.router.admin import guarded
from services.router.api import answer
from services.router.gate import AdminGate


class Feed(Protocol):
    """What this process serves."""

    def served(self) -> Served:
        """The document in force, and where it came from."""

    def lacking(self) -> Mapping[str, str]:
        """What its backends need that is not here, by backend."""

    def cold(self) -> Mapping[str, str]:
        """Which of its backends have no engine listed, and why."""

    async def apply(self, body: bytes, after: int | None) -> Published:
        """Publishes a document behind version `after`, and serves it."""


class ConfigApi:
    """The operators' endpoints about the configuration."""

    def __init__(self, gate: AdminGate, feed: Feed) -> None:
        self._gate = gate
        self._feed = feed

    def routes(self) -> list[BaseRoute]:
        """Where everything is."""
        return guarded(self._gate, {("GET", "/config"): self.show, ("PUT", "/config"): self.apply})

    async def show(self, request: Request) -> Response:
        """The document in force here, its version (0: never applied) and where it came from."""
        return answer(self._view())

    async def apply(self, request: Request) -> Response:
        """Takes a whole document (JSON) in place of the one in force. `If-Match: "3"` has it taken only
        behind version 3. Other processes follow within seconds.
        """
        published = await self._feed.apply(await request.body(), _after(request.headers.get("if-match")))
        return answer({**self._view(), "applied": published.version})

    def _view(self) -> dict[str, object]:
        served = self._feed.served()
        return {
            "version": served.version,
            "newest": max(served.version, served.seen),
            "source": served.source,
            "document": plain(served.config),
            "lacking": {**self._feed.cold(), **self._feed.lacking()},
        }


def plain(config: Config) -> object:
    """A document as plain data, without what is as it is by default."""
    return msgspec.to_builtins(config)


def _after(told: str | None) -> int | None:
    if told is None or told.strip() == "*":
        return None
    number = told.strip().removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise Invalid(f"if-match is {told[:50]!r}: name the version the document is to follow, such as 3.")
    return int(number)
