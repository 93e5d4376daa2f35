"""What backends are called with: keys of the environment, of files and of Google, and DNS."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from events.config import Backend, Config
from events.words import Unavailable
from services.adapters.dns.names import DnsNames
from services.pool.credentials import Fetch, Grant
from services.pool.outside import Outside
from services.pool.pool import Pool

if TYPE_CHECKING:
    from services.adapters.google.tokens import GoogleTokens

LARGEST_KEY = 16 * 2**10


def pools() -> Callable[[Config], Pool]:
    """Makes the pool of each version of the document; keys and addresses go on from one to the next."""
    return partial(Pool, outside=Outside(fetch_of, DnsNames()))


def fetch_of(backend: Backend) -> tuple[str, Fetch] | None:
    """What a backend's key is called in sentences, and how to get it."""
    key = backend.api_key
    if backend.auth == "google":
        return "a token of Google's", _google_tokens()
    if key is None:
        return None
    if key.env:
        return f"the key in {key.env}", partial(_variable, key.env)
    return f"the key in the file {key.file}", partial(_file, Path(key.file or ""))


async def _variable(name: str) -> Grant:
    return Grant(os.environ.get(name, ""))


async def _file(path: Path) -> Grant:
    """In a thread: a mounted secret may be read over the network."""
    return Grant(await asyncio.to_thread(_read, path))


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(LARGEST_KEY)
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"it cannot be read ({type(error).__name__})") from None


def _google_tokens() -> Fetch:
    """Imports Google's library once it is needed, off the loop: that takes a while."""
    held: list[GoogleTokens] = []

    async def fetch() -> Grant:
        if not held:
            held.append(await asyncio.to_thread(_make_google_tokens))
        return await held[0].fetch()

    return fetch


def _make_google_tokens() -> "GoogleTokens":
    try:
        from services.adapters.google.tokens import GoogleTokens  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable("Google's library is not installed here; install penstock[cloud]") from error
    return GoogleTokens()
