"""What agents counted, where there are no agents."""

from collections.abc import Collection, Mapping

from events.words import Usage


class NoAttemptCounts:
    """Knows no attempt."""

    async def of(self, attempts: Collection[str]) -> Mapping[str, Usage]:
        """Nothing."""
        return {}
