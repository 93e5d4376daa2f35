"""`/admin/v1/advice`: how many replicas each backend should have, and why."""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from events.config import Config
from functions.autoscale.standing import Standing
from services.router.admin import guarded
from services.router.api import answer
from services.router.gate import AdminGate


class AdviceStore(Protocol):
    """What is remembered of each backend, with the latest advice."""

    async def standings(self) -> Sequence[Standing]:
        """All of them, by backend."""


class AdviceApi:
    """The operators' endpoint about the fleet."""

    def __init__(self, gate: AdminGate, advice: AdviceStore, config: Callable[[], Config]) -> None:
        self._gate = gate
        self._advice = advice
        self._config = config

    def routes(self) -> list[BaseRoute]:
        """Where it is."""
        return guarded(self._gate, {("GET", "/advice"): self.advice})

    async def advice(self, request: Request) -> Response:
        """The latest advice on every backend that is configured."""
        known = self._config().backends
        views = [
            {**asdict(standing.advised), "advised_at": standing.at}
            for standing in await self._advice.standings()
            if standing.backend in known and standing.advised is not None
        ]
        return answer({"data": views})
