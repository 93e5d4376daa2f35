"""`/admin/v1/dead-letters`: messages that were given up, to be looked at and delivered again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from events.bus import Message
from events.words import Invalid, Problem, Refusal
from services.router.admin import guarded
from services.router.api import answer, refuse
from services.router.gate import AdminGate

AT_MOST = 1000


class DeadLetter(Protocol):
    """A message that was given up: by which subscription, when and why."""

    @property
    def id(self) -> str:
        """Its own, not the message's."""

    @property
    def subscription(self) -> str:
        """Who gave it up."""

    @property
    def reason(self) -> str:
        """Why."""

    @property
    def dead_at(self) -> datetime:
        """When."""

    @property
    def message(self) -> Message:
        """The message as it was delivered last."""


class DeadLetters(Protocol):
    """A bus's dead letters."""

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """The newest, newest first."""

    async def replay(self, dead_letter_id: str) -> bool:
        """Puts one back on its subscription as if new; False where there is none."""


class DeadLettersApi:
    """The operators' endpoints about dead letters. What a message carries is never shown."""

    def __init__(self, gate: AdminGate, kept: DeadLetters) -> None:
        self._gate = gate
        self._kept = kept

    def routes(self) -> list[BaseRoute]:
        """Where everything is."""
        return guarded(
            self._gate,
            {
                ("GET", "/dead-letters"): self.list,
                ("POST", "/dead-letters/{letter}/replay"): self.replay,
            },
        )

    async def list(self, request: Request) -> Response:
        """The newest `limit` of them."""
        limit = _limit(request.query_params.get("limit", "100"))
        return answer({"data": [_view(letter) for letter in await self._kept.dead_letters(limit)]})

    async def replay(self, request: Request) -> Response:
        """Has one delivered again."""
        name = unquote(request.path_params["letter"])
        if await self._kept.replay(name):
            return answer({"id": name}, 202)
        problem = Problem(message=f"There is no dead letter {name}.", code="dead_letter_not_found")
        return refuse(Refusal(status=404, problem=problem))


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 4 and 0 < int(text) <= AT_MOST:
        return int(text)
    raise Invalid(f"limit is {text!r}; give a whole number from 1 to {AT_MOST}.")


def _view(letter: DeadLetter) -> dict[str, object]:
    message = letter.message
    return {
        "id": letter.id,
        "subscription": letter.subscription,
        "reason": letter.reason,
        "dead_at": letter.dead_at,
        "published_at": message.published_at,
        "attempts": message.attempt,
        "message_id": message.attributes.get("ce-id", message.id),
        "type": message.attributes.get("ce-type", ""),
        "subject": message.attributes.get("ce-subject", ""),
        "tenant": message.attributes.get("ce-tenant", ""),
        "bytes": len(message.data),
    }
