"""A gateway that takes part in a run: started, put under load, audited after every load."""

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from tests.bench.books import Account, Books, difference
from tests.bench.gateways import Gateway
from tests.bench.results import Calls, Cpu, Lag, Ledger, Load, Round, Row, StreamRound
from tests.bench.site.load import Address, Loads, lag_of
from tests.bench.site.machine import Failed, Program
from tests.bench.site.site import FIXED, FIXED_OUTPUT_TOKENS, MANY, STREAMS, Site

CONNECTIONS = 64
STREAM_CONNECTIONS = dict(zip((*STREAMS, MANY), (1, 16, 64, 512), strict=True))
START_WITHIN_S = 60.0
IDLE_S = 0.5  # until a gateway that has just started is taken to be idle
RECORDS = 2  # of each request: that it started, and that it ended

Found = TypeVar("Found", Load, Calls)


class Entrant:
    """A gateway that runs, and the row of what is found out about it."""

    def __init__(self, gateway: Gateway, site: Site) -> None:
        self.row = Row(name=gateway.name)
        self._gateway = gateway
        self._site = site
        self._program: Program | None = None
        self._books: Books | None = None
        self._account = Account()

    # --- start and end

    def start(self) -> None:
        """Starts the gateway and notes how long it took to its first answer."""
        began = time.perf_counter()
        self._address = self._until_it_answers()
        self.row.starts_s.append(time.perf_counter() - began)
        self._loads = Loads(self._site, self._address)
        time.sleep(IDLE_S)
        if self._program is not None:
            self.row.rss_idle_mb = self._program.rss_mb()
        self._books = self._gateway.books()
        if self._books is not None:
            self._account = self._books.settled(requests=1)

    def _until_it_answers(self) -> Address:
        output = self._site.folder / f"{self.row.name}.out"
        output.touch()
        if command := self._gateway.command():
            self._program = self._site.gateway_lane.start(command, output, self._gateway.environment())
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline and not (self._program and self._program.ended):
            address = self._gateway.address(output.read_bytes())
            if address is not None and first_status(address, self._site) == 200:
                return address
            time.sleep(0.002)
        why = self._program.complaint() if self._program else "its upstreams are silent"
        raise Failed(f"{self.row.name} gave no answer: {why}")

    def stop(self) -> None:
        """Stops the gateway."""
        if self._program is not None:
            self._program.stop()

    # --- measurements

    def wrk(self, connections: int, seconds: float, body: Path | None = None) -> tuple[Load, Cpu | None]:
        """A load of whole answers; wrk cuts off those under way at the end, one a connection at most."""

        def load() -> Load:
            return self._loads.wrk(connections, seconds, body)

        return self._audited(load, FIXED_OUTPUT_TOKENS, cut_off=connections)

    def round(self, light_s: float, full_s: float) -> Round:
        """One turn under wrk."""
        c1, _ = self.wrk(1, light_s)
        c8, _ = self.wrk(8, light_s)
        c64, cpu = self.wrk(CONNECTIONS, full_s)
        if self._program is not None:
            self.row.rss_loaded_mb = self._program.rss_mb()
        turn = Round(c1=c1, c8=c8, c64=c64, cpu=cpu)
        self.row.rounds.append(turn)
        return turn

    def stream_round(self, model: str, seconds: float) -> None:
        """One turn with streams; no event may be lost or made up."""
        before = self._site.events_sent()

        def load() -> Calls:
            return self._loads.calls(model, STREAM_CONNECTIONS[model], seconds)

        calls, cpu = self._audited(load, output_each=_chunks(model), cut_off=0)
        sent = self._site.events_sent() - before
        if calls.events != sent:
            self._complain(f"{model}: {sent} events were offered, {calls.events} delivered")
        self.row.streams.setdefault(model, []).append(StreamRound(calls=calls, sent=sent, cpu=cpu))

    def count_exactly(self, seconds: float) -> None:
        """A load of which no call is cut off: each answer has its record, and each record its answer."""

        def load() -> Calls:
            return self._loads.calls(FIXED, CONNECTIONS, seconds)

        self._audited(load, FIXED_OUTPUT_TOKENS, cut_off=0)

    def watch_ledger(self, seconds: float) -> None:
        """How a platform's loop and ledger fare under load, where it keeps books."""
        books = self._books
        if books is None or not self._address.health_url:
            return
        idle = self._loads.lag(seconds)
        commits, pages = books.commits(), books.pages()
        probe = self._loads.start_lag(seconds)
        load, _ = self.wrk(CONNECTIONS, seconds)
        busy = lag_of(probe, seconds)
        self._check_health(idle, busy)
        self.row.ledger = Ledger(
            idle=idle,
            busy=busy,
            rps=load.rps,
            commits_per_s=(books.commits() - commits) / load.seconds,
            records_per_page=RECORDS * load.answered / max(1, books.pages() - pages),
        )

    def _check_health(self, *lags: Lag) -> None:
        failed = sum(lag.failed for lag in lags)
        if failed:
            self._complain(f"{failed} health checks failed")

    # --- what holds for every load

    def _audited(self, load: Callable[[], Found], output_each: int, cut_off: int) -> tuple[Found, Cpu | None]:
        """Runs a load. When this returns the gateway is done with it, and its books were looked at."""
        before = self._program.threads() if self._program is not None else {}
        found = load()
        self._check_alive()
        if not found.answered:
            raise Failed(f"{self.row.name} answered nothing under load; {found.failed} requests failed.")
        if found.failed:
            self._complain(f"{found.failed} requests failed")
        if self._books is not None:
            self._audit(self._books, found.answered, output_each, cut_off)
        cpu = self._program.used_since(before) if self._program is not None else None
        return found, cpu

    def _check_alive(self) -> None:
        if self._program is not None and self._program.ended:
            raise Failed(f"{self.row.name} ended under load: {self._program.complaint()}")

    def _audit(self, books: Books, answered: int, output_each: int, cut_off: int) -> None:
        before, self._account = self._account, books.settled(self._account.requests + answered)
        self.row.records_checked += answered
        problem = difference(self._account.since(before), answered, output_each, cut_off)
        if problem is not None:
            self._complain(problem)

    def _complain(self, problem: str) -> None:
        self.row.problems.append(problem)


def _chunks(model: str) -> int:
    return int(model.removeprefix("stream-").split("x")[0])


def first_status(address: Address, site: Site) -> int:
    """The status one call gets; 0 where nobody answers yet."""
    parts = urlsplit(address.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    headers = {"content-type": "application/json", "authorization": f"Bearer {address.key}"}
    try:
        connection.request("POST", parts.path, site.body(FIXED).read_bytes(), headers)
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
