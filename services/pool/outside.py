"""What backends need from outside the document: keys and the addresses of names."""

from collections.abc import Callable

from events.config import Backend
from events.words import Unavailable
from services.pool.credentials import Credentials, Fetch, Renewed
from services.pool.names import Found, Names, WatchedName

FetchOf = Callable[[Backend], tuple[str, Fetch] | None]


def _no_key(backend: Backend) -> tuple[str, Fetch] | None:
    return None


class NoNames:
    """No DNS at all."""

    async def find(self, host: str) -> Found:
        """See `Names`."""
        raise Unavailable("this process asks no DNS")


class Outside:
    """Outlives a version of the document: the next one goes on with the keys and addresses that are known.

    `fetch_of` says what a backend's key is called in sentences, and how to get it; None where it needs none.
    """

    def __init__(self, fetch_of: FetchOf = _no_key, names: Names | None = None) -> None:
        self._fetch_of = fetch_of
        self._names = names or NoNames()
        self._credentials: dict[object, Credentials] = {}
        self._watched: dict[str, WatchedName] = {}

    def credentials(self, backend: Backend) -> Credentials | None:
        """The key of a backend; the same for all that name the same one."""
        which = (backend.api_key, backend.auth)
        if which not in self._credentials:
            found = self._fetch_of(backend)
            if found is None:
                return None
            self._credentials[which] = Renewed(*found)
        return self._credentials[which]

    def name(self, host: str) -> WatchedName:
        """The addresses of a name."""
        if host not in self._watched:
            self._watched[host] = WatchedName(host, self._names)
        return self._watched[host]
