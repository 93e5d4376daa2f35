"""Fronts on ports: with the settings' limits, and a sentence where nothing can listen."""

import errno

from events.words import Conflict, Invalid
from services.front.call import Endpoint
from services.front.front import Front
from services.front.limits import Budget, Limits
from services.runtime.settings import Settings
from services.wire.errors import render_refusal


def make_front(settings: Settings, endpoint: Endpoint, budget: Budget) -> Front:
    """A front for an endpoint; what its calls hold is taken from `budget`."""
    limits = Limits(body=settings.max_body_bytes, stalled_s=settings.stalled_client_timeout_s)
    return Front(endpoint, render_refusal=render_refusal, limits=limits, budget=budget)


async def take_port(front: Front, host: str, port: int, option: str) -> int:
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
