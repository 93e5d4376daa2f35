"""Whether a failed attempt is followed by another, and when."""

import random
from dataclasses import dataclass

SHARE = 0.2  # of the requests under way may be in a further attempt: retries must not become a storm
LEAST = 3  # and so many always may


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """`attempts`: the most one request gets, the first included. Pauses are in seconds: the first may be as
    long as `first_s`, each further one twice as long, none longer than `longest_s`.

    The pause is drawn from all of that time, so that those who failed together do not come back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    attempts: int = 3
    first_s: float = 0.25
    longest_s: float = 5.0

    def may(self, number: int, retrying: int, under_way: int) -> bool:
        """Whether attempt `number` may be followed, while `retrying` of `under_way` requests are in one that
        followed.
        """
        return number < self.attempts and retrying < max(LEAST, SHARE * under_way)

    def pause_s(self, number: int, at_least_s: float | None = None) -> float | None:
        """How long to wait after attempt `number`; None where an engine asks for too much patience."""
        least = at_least_s or 0.0
        if least > self.longest_s:
            return None
        drawn = random.uniform(0, min(self.longest_s, self.first_s * 2 ** (number - 1)))  # noqa: S311
        return max(least, drawn) or self.first_s
