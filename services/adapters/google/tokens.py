"""Access tokens of whoever this process is to Google."""

import asyncio
import datetime as dt
from functools import partial

import google.auth
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from events.words import Unavailable
from functions.request.mistakes import clipped
from services.pool.credentials import Grant

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TIMEOUT_S = 10.0
MAX_WORDS = 200


class GoogleTokens:
    """Application Default Credentials: a service account's file, the metadata server, or who is logged in."""

    def __init__(self) -> None:
        self._credentials: Credentials | None = None

    async def fetch(self) -> Grant:
        """A new token. Raises `Unavailable`."""
        return await asyncio.to_thread(self._fetch)

    def _fetch(self) -> Grant:
        try:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[SCOPE])
            self._credentials.refresh(partial(Request(), timeout=TIMEOUT_S))
        except (GoogleAuthError, ValueError, OSError) as error:
            self._credentials = None  # what they are made of may be another by now
            raise Unavailable(clipped(f"{type(error).__name__}: {_first(error)}", MAX_WORDS)) from None
        return Grant(self._credentials.token or "", self._lasts_s(self._credentials.expiry))

    def _lasts_s(self, expiry: dt.datetime | None) -> float | None:
        if expiry is None:
            return None
        return (expiry.replace(tzinfo=dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds()


def _first(error: Exception) -> str:
    return str(error.args[0]) if error.args else ""
