"""How commands reach a running platform: over HTTP, found by the data folder or by PENSTOCK_URL."""

import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from events.words import Conflict, Invalid, PenstockError, Refused, Unavailable
from services.runtime.settings import default_data_dir
from services.runtime.whereabouts import url_of

TIMEOUT_S = 90.0

Json = dict[str, Any]  # what an endpoint answered, shown as it is


class NotThere(Invalid):
    """There is nothing of that name for whoever asked."""


class Platform:
    """A running platform, and the keys to it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder

    def public(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Json:
        """Calls a public endpoint with the API key."""
        return self._call(method, path, body, self.api_key(), headers or {})

    def admin(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Json:
        """Calls an admin endpoint with the admin key; `body` is JSON or bytes."""
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        return self._call(method, f"/admin/v1{path}", content, self._admin_key(), headers or {})

    def stream(self, method: str, path: str, body: bytes, *, admin: bool = False) -> Iterator[bytes]:
        """The lines of an answer as they come. Raises `Unavailable` where the connection breaks."""
        key = self._admin_key() if admin else self.api_key()
        response = self._open(method, path, body, key, {}, timeout_s=None)
        if response.status >= 400:
            raise _error(response.status, self._read(response))
        try:
            yield from response
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error

    def _call(self, method: str, path: str, body: bytes, key: str, headers: dict[str, str]) -> Json:
        response = self._open(method, path, body, key, headers, timeout_s=TIMEOUT_S)
        content = self._read(response)
        if response.status >= 400:
            raise _error(response.status, content)
        answer: Json = msgspec.json.decode(content or b"{}")
        return answer

    def _open(
        self, method: str, path: str, body: bytes, key: str, headers: dict[str, str], timeout_s: float | None
    ) -> http.client.HTTPResponse:
        parts = urlsplit(self.url)
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = make(parts.hostname or "", parts.port, timeout=timeout_s)
        named = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
        try:
            connection.request(method, path, body, named)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"No platform answers at {self.url} ({error}). Start one with: penstock up."
            ) from error

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> Unavailable:
        return Unavailable(f"The connection to {self.url} broke ({error}).")

    def api_key(self) -> str:
        """`PENSTOCK_API_KEY`, else the development key in the data folder."""
        return self._key("PENSTOCK_API_KEY", "api-key")

    def _admin_key(self) -> str:
        return self._key("PENSTOCK_ADMIN_KEY", "admin-key")

    def _key(self, variable: str, file: str) -> str:
        key = os.environ.get(variable)
        if key:
            return key
        try:
            return (self._folder / file).read_text().strip()
        except OSError as error:
            raise Invalid(f"{variable} is not set and {self._folder / file} cannot be read.") from error


def find(data_dir: str | None) -> Platform:
    """The platform of a data folder, or the one `PENSTOCK_URL` names. Raises `Unavailable`."""
    given = data_dir or os.environ.get("PENSTOCK_DATA_DIR") or default_data_dir(os.environ)
    folder = Path(given)
    url = os.environ.get("PENSTOCK_URL")
    if url and not data_dir:
        return Platform(url.rstrip("/"), folder)
    announced = url_of(folder)
    if announced is None:
        raise Unavailable(
            f"No platform runs on {folder}. Start one with: penstock up; or name one: "
            "--data-dir, PENSTOCK_URL."
        )
    return Platform(announced, folder)


def _error(status: int, content: bytes) -> PenstockError:
    try:
        message = str(msgspec.json.decode(content)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = f"The platform answered with status {status}."
    kinds: dict[int, type[PenstockError]] = {404: NotThere, 409: Conflict, 429: Refused}
    return kinds.get(status, Unavailable if status >= 500 else Invalid)(message)
