"""When a message that was not acknowledged comes again, and what is said when it does not."""

from datetime import timedelta

from events.catalog import Retry


def backoff(retry: Retry, attempt: int) -> timedelta:
    """The pause after the `attempt`-th delivery (from 1) was refused."""
    doublings = min(attempt - 1, 64)  # far past any max_backoff_s, and still a float
    return timedelta(seconds=min(retry.max_backoff_s, retry.min_backoff_s * 2.0**doublings))


def lease(retry: Retry) -> timedelta:
    """How long a delivery may stay unanswered."""
    return timedelta(seconds=retry.ack_deadline_s)


def refused(retry: Retry) -> str:
    """The reason of a dead letter whose last delivery was refused."""
    return f"Given up after {retry.attempts} deliveries: the last one was refused."


def unanswered(retry: Retry) -> str:
    """The reason of a dead letter whose last delivery was never answered."""
    return (
        f"Given up after {retry.attempts} deliveries: the last one was not answered within "
        f"{retry.ack_deadline_s} s, or its process ended."
    )
