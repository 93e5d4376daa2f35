"""How commands reach a running platform: over HTTP, found by the data folder or by PENSTOCK_URL."""

import http.client
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from events.words import Conflict, Invalid, PenstockError, Refused, Unavailable
from services.runtime.settings import default_data_dir
from services.runtime.whereabouts import url_of

CONNECT_TIMEOUT_S = 10.0
TIMEOUT_S = 90.0

T = TypeVar("T")

Json = dict[str, object]  # what an endpoint answered, shown as it is


class NotThere(Invalid):
    """There is nothing of that name for whoever asked."""


class Rows(msgspec.Struct):
    """A list, as endpoints answer it."""

    data: list[Json]


class Named(msgspec.Struct):
    """Something with an id."""

    id: str


class _Models(msgspec.Struct):
    data: list[Named]


class Answer:
    """What an endpoint answered."""

    def __init__(self, content: bytes, url: str) -> None:
        self._content = content
        self._url = url

    def read(self, kind: type[T]) -> T:
        """The content as a `kind`. Raises `Unavailable` where it is of no such shape."""
        return read(self._content, kind, self._url)


class Platform:
    """A running platform, and the keys to it.

    One that was announced in `folder` is spoken to only while it lives: whoever took its port since
    would get the key.
    """

    def __init__(self, url: str, folder: Path | None, *, announced: bool = False) -> None:
        self.url = url
        self._folder = folder
        self._announced = announced

    def public(self, method: str, path: str) -> Answer:
        """Calls a public endpoint with the API key."""
        return self._call(method, path, b"", self._api_key(), {})

    def admin(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Calls an admin endpoint with the admin key; `body` is JSON or bytes."""
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        return self._call(method, f"/admin/v1{path}", content, self._admin_key(), headers or {})

    def rows(self, path: str) -> list[Json]:
        """The list an admin endpoint answers with."""
        return self.admin("GET", path).read(Rows).data

    def stream(self, method: str, path: str, body: bytes, *, admin: bool = False) -> Iterator[bytes]:
        """The lines of an answer as they come. Raises `Unavailable` where the connection breaks."""
        key = self._admin_key() if admin else self._api_key()
        with self._answering(method, path, body, key, {}, timeout_s=None) as response:
            try:
                yield from response
            except (OSError, http.client.HTTPException) as error:
                raise self._broken(error) from error

    def first_model(self) -> str:
        """The model for whoever names none."""
        models = self.public("GET", "/v1/models").read(_Models).data
        if not models:
            raise Invalid(f"The platform at {self.url} has no model.")
        return models[0].id

    def _call(self, method: str, path: str, body: bytes, key: str, headers: dict[str, str]) -> Answer:
        with self._answering(method, path, body, key, headers, timeout_s=TIMEOUT_S) as response:
            return Answer(self._rest(response), self.url)

    @contextmanager
    def _answering(
        self, method: str, path: str, body: bytes, key: str, headers: dict[str, str], timeout_s: float | None
    ) -> Iterator[http.client.HTTPResponse]:
        """The response to a call, once it is no error; raises what it says where it is one."""
        parts = urlsplit(self.url)
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        named = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
        with closing(make(parts.hostname or "", parts.port, timeout=CONNECT_TIMEOUT_S)) as connection:
            try:
                connection.connect()
                connection.sock.settimeout(timeout_s)
                self._check_alive()
                connection.request(method, path, body, named)
                response = connection.getresponse()
            except (OSError, UnicodeError, http.client.HTTPException) as error:
                raise Unavailable(
                    f"No platform answers at {self.url} ({error}). Start one with: penstock up."
                ) from error
            with response:
                if response.status >= 400:
                    raise _error(response.status, self._rest(response))
                yield response

    def _check_alive(self) -> None:
        """Asked once connected: whoever listens there now is the one that was announced, or nobody is."""
        if self._announced and self._folder is not None and url_of(self._folder) != self.url:
            raise Unavailable(_NO_PLATFORM.format(self._folder))

    def _rest(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> Unavailable:
        return Unavailable(f"The connection to {self.url} broke ({error}).")

    def _api_key(self) -> str:
        return self._key("PENSTOCK_API_KEY", "api-key")

    def _admin_key(self) -> str:
        return self._key("PENSTOCK_ADMIN_KEY", "admin-key")

    def _key(self, variable: str, file: str) -> str:
        key, place = os.environ.get(variable), variable
        if not key:
            if self._folder is None:
                raise Invalid(f"{variable} is not set, and the platform at {self.url} needs a key.")
            place = str(self._folder / file)
            try:
                key = (self._folder / file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise Invalid(f"{variable} is not set, and {place} cannot be read.") from error
        if not (key.isascii() and key.isprintable()):
            raise Invalid(f"{place} does not hold a key: keys are one line of letters and digits.")
        return key


_NO_PLATFORM = "No platform runs on {}. Start one with: penstock up; or name one: --data-dir, PENSTOCK_URL."


def find(data_dir: str | None) -> Platform:
    """The platform of a data folder, or the one `PENSTOCK_URL` names. Raises `Unavailable`.

    The keys in the usual folder are for the platform of that folder, and for no other.
    """
    named = data_dir or os.environ.get("PENSTOCK_DATA_DIR")
    url = os.environ.get("PENSTOCK_URL")
    if url and not data_dir:
        return Platform(_base(url), Path(named) if named else None)
    folder = Path(named or default_data_dir(os.environ))
    announced = url_of(folder)
    if announced is None:
        raise Unavailable(_NO_PLATFORM.format(folder))
    return Platform(announced, folder, announced=True)


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        bare = url.rstrip("/") == f"{parts.scheme}://{parts.netloc}" and "@" not in url
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        bare = usable = False
    if not (bare and usable and url.isprintable()) or " " in url:
        raise Invalid(f"PENSTOCK_URL is {url!r}; use a base URL like http://127.0.0.1:4747.")
    return url.rstrip("/")


def read(content: bytes, kind: type[T], url: str) -> T:
    """What the platform at `url` said, as a `kind`. Raises `Unavailable` where it is of no such shape."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:
        raise Unavailable(
            f"What answers at {url} does not speak like a platform of this version ({error})."
        ) from error


class _Problem(msgspec.Struct):
    message: str


class _Error(msgspec.Struct):
    error: _Problem


def _error(status: int, content: bytes) -> PenstockError:
    try:
        message = msgspec.json.decode(content, type=_Error).error.message
    except (ValueError, RecursionError):
        message = f"The platform answered with status {status}."
    kinds: dict[int, type[PenstockError]] = {404: NotThere, 409: Conflict, 429: Refused}
    return kinds.get(status, Unavailable if status >= 500 else Invalid)(message)
