"""Runs the programs that make load, on their own processor, and reads what they found."""

from itertools import count
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.bench.results import Calls, Lag, Load
from tests.bench.site.machine import Program, tool
from tests.bench.site.site import FIXED, KEY, PROGRAMS, Site, python

GRACE_S = 30.0  # for a load to end after its time

_numbers = count(1)


class Address(Struct, frozen=True, kw_only=True):
    """Where a gateway answers chats; `health_url` is an endpoint that does no I/O, where it has one. `keys`
    names a file with keys, one a line, that wrk is to use one after another.
    """

    url: str
    stream_url: str
    key: str = KEY
    health_url: str = ""
    keys: str = ""


class Loads:
    """Load on the chats of one address."""

    def __init__(self, site: Site, address: Address) -> None:
        self._site = site
        self._address = address

    def wrk(self, connections: int, seconds: float, body: Path | None = None) -> Load:
        """As many calls as `connections` can make, of the usual body or this; those under way at the end are
        cut off.
        """
        threads = ("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s")
        command = (tool("wrk"), *threads, "-s", str(PROGRAMS / "post.lua"), self._address.url)
        environment = {"BODY": str(body or self._site.body(FIXED)), "KEY": self._address.key}
        if self._address.keys:
            environment["KEYS"] = self._address.keys
        printed = self._start("wrk", command, environment).result(seconds + GRACE_S)
        return msgspec.json.decode(printed.splitlines()[-1], type=Load)

    def calls(self, model: str, connections: int, seconds: float) -> Calls:
        """The same with our own client: none is cut off, and streams are read event by event."""
        address = self._address
        command = python(
            "client",
            address.url if model == FIXED else address.stream_url,
            *("--key", address.key),
            *("--body", str(self._site.body(model))),
            *("--connections", str(connections)),
            *("--seconds", str(seconds)),
        )
        return msgspec.json.decode(self._start("client", command).result(seconds + GRACE_S), type=Calls)

    def lag(self, seconds: float) -> Lag:
        """How long an endpoint that does no I/O takes, at an even pace."""
        return lag_of(self.start_lag(seconds), seconds)

    def start_lag(self, seconds: float) -> Program:
        """The same, begun now and read later with `lag_of`."""
        return self._start("probe", python("probe", self._address.health_url, str(seconds)))

    def _start(
        self, name: str, command: tuple[str, ...], environment: dict[str, str] | None = None
    ) -> Program:
        output = self._site.folder / f"{name}-{next(_numbers)}.out"
        return self._site.load_lane.start(command, output, environment)


def lag_of(program: Program, seconds: float) -> Lag:
    """What a probe found."""
    return msgspec.json.decode(program.result(seconds + GRACE_S), type=Lag)
