"""What a platform counted, read from outside, and whether it is what its callers got."""

import socket
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct

from services.cli import platform
from tests.bench.results import Counted
from tests.bench.site.site import INPUT_TOKENS

POLL_S = 0.2
QUIET_S = 30.0
COMMITS_AT = 8  # in the WAL index: a counter of transactions, in the machine's byte order


class Account(Struct, frozen=True, kw_only=True):
    """The sums of a ledger, or what was added to them; `estimated` is the tokens no engine counted."""

    requests: int = 0
    input: int = 0
    output: int = 0
    estimated: int = 0

    def since(self, before: "Account") -> "Account":
        """What was added."""
        return Account(
            requests=self.requests - before.requests,
            input=self.input - before.input,
            output=self.output - before.output,
            estimated=self.estimated - before.estimated,
        )


class Books:
    """What a platform billed, as somebody outside of it can read it."""

    def account(self) -> Account:
        """Everything billed so far."""
        raise NotImplementedError

    def commits(self) -> int:
        """How often it was made sure that usage is not lost: transactions, or calls of Pub/Sub."""
        raise NotImplementedError

    def pages(self) -> int:
        """How many pages of usage records there are."""
        raise NotImplementedError

    def settled(self, requests: int) -> Account:
        """The account once it has so many requests and changes no more; else as it is in the end."""
        deadline = time.monotonic() + QUIET_S
        account = self.account()
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            before, account = account, self.account()
            if account == before and account.requests >= requests:
                break
        return account


class LedgerBooks(Books):
    """The ledger of the platform on a data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "data.db"

    def account(self) -> Account:
        """Everything billed so far, as `penstock usage` shows it."""
        rows = platform.find(str(self._folder)).rows("/usage")
        return Account(
            requests=sum(row["requests"] for row in rows),
            input=sum(row["input_tokens"] for row in rows),
            output=sum(row["output_tokens"] for row in rows),
            estimated=sum(row["estimated_tokens"] for row in rows),
        )

    def commits(self) -> int:
        """How many transactions the data file has seen since it was opened."""
        with self._file.with_name("data.db-shm").open("rb") as file:
            file.seek(COMMITS_AT)
            (count,) = struct.unpack("=I", file.read(4))
            return int(count)

    def pages(self) -> int:
        """How many pages of usage records the ledger holds."""
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM pages").fetchone()
            return int(count)


class PublishedBooks(Books):
    """What arrived at a Pub/Sub that counts: see `programs/cloud.py`."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")

    def _counted(self) -> Counted:
        with socket.create_connection((self._host, int(self._port)), timeout=QUIET_S) as asking:
            return msgspec.json.decode(asking.makefile("rb").readline(), type=Counted)

    def account(self) -> Account:
        """See `Books`."""
        found = self._counted()
        return Account(
            requests=found.requests, input=found.input, output=found.output, estimated=found.estimated
        )

    def commits(self) -> int:
        """See `Books`."""
        return self._counted().calls

    def pages(self) -> int:
        """See `Books`."""
        return self._counted().pages


def difference(recorded: Account, answered: int, output_each: int, cut_off: int) -> str | None:
    """What is wrong with an account, in words, where something is.

    Every answered request has `INPUT_TOKENS` and `output_each` tokens. At most `cut_off` more may be
    recorded: those a caller left in the middle, with the engine's count or an estimate.
    """
    surplus = recorded.requests - answered
    if not 0 <= surplus <= cut_off:
        return (
            f"{answered} requests were answered (and up to {cut_off} cut off), {recorded.requests} recorded"
        )
    each = INPUT_TOKENS + output_each
    counted, odd = divmod(recorded.input + recorded.output - recorded.estimated, each)
    if odd or not answered <= counted <= recorded.requests:
        return f"{answered} answers of {each} tokens were given, {recorded} recorded"
    if not surplus and recorded.output != answered * output_each:
        return f"{answered} answers of {output_each} tokens were given, {recorded.output} tokens recorded"
    return None
