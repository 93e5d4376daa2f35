"""Liveness and readiness."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.router.api import answer

Check = Callable[[], Awaitable[str | None]]  # what is missing, or None


class Health:
    """`/health`: the process lives. `/ready`: what it needs was reached, and it is not draining."""

    def __init__(self, checks: dict[str, Check]) -> None:
        self._checks = checks
        self.draining = False

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        return [Route("/health", self.health), Route("/ready", self.ready)]

    async def health(self, request: Request) -> Response:
        """Always 200 while the process can answer."""
        return answer({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """503 with what is missing, until nothing is."""
        missing = {name: why for name, check in self._checks.items() if (why := await check())}
        if self.draining:
            missing["process"] = "draining"
        if missing:
            return answer({"status": "not ready", "missing": missing}, 503)
        return answer({"status": "ready"})
