"""What a process tells of itself that answers nobody else: whether it lives, is ready, and its figures."""

from services.front.limits import Budget
from services.router.api import application
from services.router.exposition import Exposition
from services.router.health import Check, Health
from services.router.metrics import Metrics
from services.router.router import Router
from services.runtime.listening import make_front, take_port, url_at
from services.runtime.settings import Settings

MOST_HELD = 2**20  # nothing is sent to it


class Probes:
    """`/health`, `/ready` and `/metrics` on one port; `listen` once, `close` once.

    `checks`: what must hold before it is ready.
    """

    def __init__(self, settings: Settings, metrics: Metrics, checks: dict[str, Check]) -> None:
        self.url = ""
        self._settings = settings
        self._health = Health(checks)
        app = application(self._health.routes())
        self._router = Router({b"/metrics": Exposition(metrics)}, app)
        self._front = make_front(settings, self._router, Budget(MOST_HELD))

    async def listen(self) -> None:
        """Takes the port and serves; `url` is known from now on. Raises `Conflict` where the port is taken,
        `Invalid` where none can be.
        """
        host = self._settings.host
        self.url = url_at(host, await take_port(self._front, host, self._settings.port, "--port"))

    def drain(self) -> None:
        """It is not ready any more; it lives."""
        self._health.draining = True

    async def close(self) -> None:
        """Lets go of the port."""
        await self._router.close()
        await self._front.close(0)
