"""The usage records of a synchronous request's attempt."""

from datetime import datetime

from events.usage import Completed, Outcome, Started
from events.words import Usage
from services.router.order import Order


def started(order: Order, attempt: str, at: datetime) -> Started:
    """The engine may be working on it from now on."""
    return Started(
        attempt=attempt,
        request=order.request_id,
        tenant=order.key.tenant,
        key=order.key.id,
        model=order.model,
        backend=order.backend,
        at=at,
        estimate=order.input_estimate,
        queued=order.later is not None,
    )


def completed(
    order: Order,
    attempt: str,
    at: datetime,
    outcome: Outcome,
    usage: Usage,
    *,
    counted: bool,
    billed: bool,
    duration_s: float,
    first_byte_s: float | None,
) -> Completed:
    """It is over. `counted` usage was reported by the engine; else it is our estimate."""
    return Completed(
        attempt=attempt,
        request=order.request_id,
        tenant=order.key.tenant,
        key=order.key.id,
        model=order.model,
        backend=order.backend,
        at=at,
        outcome=outcome,
        usage=usage,
        billed=billed,
        estimated=None if counted else "usage",
        duration_ms=round(duration_s * 1000),
        first_byte_ms=None if first_byte_s is None else round(first_byte_s * 1000),
    )
