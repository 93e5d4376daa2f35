"""Fronts on ports: with the settings' limits, and a sentence where nothing can listen."""

import errno
from typing import Protocol

from events.words import Conflict, Invalid
from services.front.call import Endpoint
from services.front.front import Front, Refusals
from services.front.limits import Budget, Limits
from services.runtime.settings import Settings
from services.wire.errors import render_refusal


class Listening(Protocol):
    """What serves an endpoint on a port; see `Front`."""

    def __init__(
        self, endpoint: Endpoint, *, render_refusal: Refusals, limits: Limits | None = None, budget: Budget
    ) -> None: ...

    @property
    def connections(self) -> int:
        """How many clients are connected."""

    async def listen(self, host: str, port: int) -> int:
        """Starts serving and returns the port (0 asks for any). Raises `OSError` where it is taken."""

    async def close(self, grace_s: float) -> None:
        """Stops accepting, lets calls under way end for `grace_s`, then cuts the rest."""


def make_front(settings: Settings, endpoint: Endpoint, budget: Budget) -> Listening:
    """A front for an endpoint; what its calls hold is taken from `budget`."""
    limits = Limits(body=settings.max_body_bytes, stalled_s=settings.stalled_client_timeout_s)
    kind = Front if settings.front == "own" else _under_uvicorn()
    return kind(endpoint, render_refusal=render_refusal, limits=limits, budget=budget)


def _under_uvicorn() -> type[Listening]:
    try:
        from services.front.under_uvicorn import UvicornFront  # noqa: PLC0415  (not a package of ours)
    except ModuleNotFoundError as error:
        raise Invalid("PENSTOCK_FRONT is uvicorn, which is missing here: pip install uvicorn.") from error
    return UvicornFront


async def take_port(front: Listening, host: str, port: int, option: str) -> int:
    """Serves there, and returns the port. Raises `Conflict` where it is taken, naming the `option` that
    chooses another, and `Invalid` where nothing can listen.
    """
    try:
        return await front.listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"The port {port} on {host} is taken. Stop what uses it, or choose another with {option} "
                "(0 takes any free one)."
            ) from error
        raise Invalid(f"Nothing can listen on {host}, port {port}: {error.strerror or error}.") from error


def url_at(host: str, port: int) -> str:
    """The address a client on this machine uses."""
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
