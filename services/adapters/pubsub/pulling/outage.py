"""How long something that is tried again and again has been failing."""

SETTLED_S = 5.0


class Outage:
    """Tells a stream that ends now and then from one that does not come back; times in seconds."""

    def __init__(self) -> None:
        self._opened_at: float | None = None
        self._began_at: float | None = None

    def opened(self, now: float) -> None:
        """A try began well; whether it is well is seen when it has lived for a while, or was of use."""
        self._opened_at = now

    def over(self) -> None:
        """It was of use."""
        self._began_at = None

    def failed(self, now: float) -> float:
        """How long the outage has lasted; 0 where this is its beginning."""
        settled = self._opened_at is not None and now - self._opened_at >= SETTLED_S
        self._opened_at = None
        if settled or self._began_at is None:
            self._began_at = now
        return now - self._began_at
