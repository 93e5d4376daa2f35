"""A network between an adapter and Firestore that loses questions and answers when told to."""

import asyncio
from collections.abc import Callable
from typing import Any

from google.api_core import exceptions as errors

LATE = errors.DeadlineExceeded("too late")
GONE = errors.ServiceUnavailable("no connection")
BUSY = errors.Aborted("another write was at the same document")


class Faults:
    """What becomes of the next writes, in order: `None` passes, an error comes instead.

    `lost`: the write does not reach the server. `unheard`: it takes place, and its answer is lost.
    """

    def __init__(
        self, *, lost: tuple[Exception | None, ...] = (), unheard: tuple[Exception | None, ...] = ()
    ):
        self._lost = list(lost)
        self._unheard = list(unheard)
        self._api: Any = None

    def around(self, api: Any) -> "Faults":
        self._api = api
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def lose(self, *errors: Exception | None) -> None:
        self._lost += errors

    def leave_unheard(self, *errors: Exception | None) -> None:
        self._unheard += errors

    async def commit(self, request: Any, **given: Any) -> Any:
        return await self._write(self._api.commit, request, **given)

    async def batch_write(self, request: Any, **given: Any) -> Any:
        return await self._write(self._api.batch_write, request, **given)

    async def _write(self, write: Callable[..., Any], request: Any, **given: Any) -> Any:
        await asyncio.sleep(0)
        if (error := self._lost.pop(0) if self._lost else None) is not None:
            raise error
        answer = await write(request, **given)
        if (error := self._unheard.pop(0) if self._unheard else None) is not None:
            raise error
        return answer
