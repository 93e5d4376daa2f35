"""The one thread that writes: what is queued together is committed together, with one fsync."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

from events.words import Unavailable

T = TypeVar("T")

GROUP = 256  # jobs that share a commit at most; it bounds how long the first of them waits

# Jobs of different result types share one queue; `write` keeps each job and its future of one type.
_Job: TypeAlias = tuple[asyncio.Future[Any], Callable[[sqlite3.Connection], Any]]
_Outcome: TypeAlias = tuple[asyncio.Future[Any], object, Exception | None]


class Writer:
    """Runs jobs on a connection in the order they were queued; all callers share one event loop.

    A job's future resolves after the commit that holds its changes has returned. A job that raises
    leaves no change and disturbs no other; only its own caller sees the error. Where the commit
    fails, nothing of the group is stored and each caller gets `Unavailable`. A caller that stops
    waiting does not stop its job.
    """

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection = connection
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def write(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queues a job and returns the future of its result."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((future, job))
        return future

    def finish(self) -> None:
        """Returns when everything queued so far is done; nothing may be queued after."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while group := self._gather():
            self._tell(self._commit(group))

    def _gather(self) -> list[_Job]:
        """Waits for a job, then takes what else is queued; nothing once told to finish."""
        group: list[_Job] = []
        while (job := self._queue.get()) is not None:
            group.append(job)
            if len(group) == GROUP or self._queue.empty():
                return group
        if group:
            self._queue.put(None)  # met too early: the next round ends on it
        return group

    def _commit(self, group: Sequence[_Job]) -> list[_Outcome]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if len(group) == 1:
                return [self._alone(group[0])]
            outcomes = [self._isolated(job) for job in group]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            return [(future, None, unavailable(error)) for future, _ in group]
        return outcomes

    def _alone(self, job: _Job) -> _Outcome:
        """A job that shares its transaction with no other needs no savepoint."""
        outcome = self._attempt(job)
        self._connection.execute("COMMIT" if outcome[2] is None else "ROLLBACK")
        return outcome

    def _isolated(self, job: _Job) -> _Outcome:
        self._connection.execute("SAVEPOINT job")
        outcome = self._attempt(job)
        if outcome[2] is not None:
            self._connection.execute("ROLLBACK TO job")
        self._connection.execute("RELEASE job")
        return outcome

    def _attempt(self, job: _Job) -> _Outcome:
        future, change = job
        try:
            return future, change(self._connection), None
        except sqlite3.Error as error:
            if not self._connection.in_transaction:
                raise  # SQLite gave the whole transaction up, with what other jobs wrote in it
            return future, None, unavailable(error)
        except Exception as error:  # noqa: BLE001 - it belongs to the caller, who gets it
            return future, None, error

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # the thread must live on; the next group tries again
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _tell(self, outcomes: list[_Outcome]) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            outcomes[0][0].get_loop().call_soon_threadsafe(_resolve, outcomes)


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue  # its caller was cancelled
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def unavailable(cause: sqlite3.Error) -> Unavailable:
    """What callers get when SQLite fails: a full disk, an I/O error, a locked or damaged file."""
    error = Unavailable(f"The database cannot do this now: {cause}.")
    error.__cause__ = cause
    return error
