"""A run for people: a table in Markdown, and lines on what only a platform has."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from tests.bench.entrant import CONNECTIONS, STREAM_CONNECTIONS
from tests.bench.results import Header, Lag, Load, Row
from tests.bench.site.site import MANY, STREAMS

RULER = "nginx-proxy"
BASE = "direct"
NOTHING = "-"


class Spread(NamedTuple):
    """A figure over paired rounds."""

    least: float
    median: float
    most: float

    def __str__(self) -> str:
        return f"**{self.median:.3f}** ({self.least:.3f} to {self.most:.3f})"


def ratio(row: Row, ruler: Row) -> Spread:
    """A gateway's requests a second in units of the ruler's in the same round."""
    pairs = zip(row.rounds, ruler.rounds, strict=True)
    ratios = [own.c64.rps / other.c64.rps for own, other in pairs]
    return Spread(min(ratios), median(ratios), max(ratios))


def document(header: Header, rows: Sequence[Row]) -> str:
    """Everything, in Markdown."""
    by_name = {row.name: row for row in rows}
    whole = _table(rows, _columns_of_answers(by_name.get(RULER)))
    streamed = _table(rows, _columns_of_streams(by_name.get(BASE)))
    parts = [_about(header), whole, streamed, *map(_ledger, rows), *map(_problems, rows)]
    return "\n\n".join(part for part in parts if part)


def _about(header: Header) -> str:
    return (
        f"{header.at}, {header.processor}, {header.cores} cores, Linux {header.system}, "
        f"Python {header.python}; syncing a page takes {header.sync_ms:.2f} ms; "
        f"load of the machine before the run: {header.load_before:.2f}."
    )


Columns = dict[str, Callable[[Row], str]]


def _table(rows: Sequence[Row], columns: Columns) -> str:
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[show(row) for show in columns.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _columns_of_answers(ruler: Row | None) -> Columns:
    return {
        "gateway": lambda row: row.name,
        f"requests/s, {CONNECTIONS} connections": lambda row: f"{row.rps:,.0f}",
        f"x {RULER} (least to most)": lambda row: str(ratio(row, ruler)) if ruler else NOTHING,
        "CPU ms a request": _cpu_per_request,
        "p50 / p99 ms, 1 connection": lambda row: _latency([turn.c1 for turn in row.rounds]),
        "8": lambda row: _latency([turn.c8 for turn in row.rounds]),
        f"{CONNECTIONS}": lambda row: _latency([turn.c64 for turn in row.rounds]),
        "valid": _valid,
    }


def _columns_of_streams(base: Row | None) -> Columns:
    return {
        "gateway": lambda row: row.name,
        "start to first 200, s": _start,
        "RSS MB, idle / loaded": _memory,
        "added TTFT ms": lambda row: _added_ttft(row, base),
        "CPU ms for 1,000 events, 16 / 64 streams": _cpu_per_event,
        f"p99.9 gap ms, {STREAM_CONNECTIONS[MANY]} streams": _gap,
        "events offered / delivered": _events,
        "valid": _valid,
    }


def _valid(row: Row) -> str:
    return "no" if row.problems else "yes"


def _cpu_per_request(row: Row) -> str:
    shares = [(turn.cpu, turn.c64.answered) for turn in row.rounds if turn.cpu is not None]
    if not shares:
        return NOTHING
    total = median(cpu.total_ms / answered for cpu, answered in shares)
    writer = median(cpu.writer_ms / answered for cpu, answered in shares)
    if row.ledger is None:
        return f"{total:.3f}"
    main = median(cpu.main_ms / answered for cpu, answered in shares)
    return f"{total:.3f} (main {main:.3f}, writer {writer:.3f})"


def _latency(loads: Sequence[Load]) -> str:
    p50, p99 = median(load.p50_us for load in loads), median(load.p99_us for load in loads)
    return f"{p50 / 1000:.2f} / {p99 / 1000:.2f}"


def _memory(row: Row) -> str:
    if row.rss_idle_mb is None or row.rss_loaded_mb is None:
        return NOTHING
    return f"{row.rss_idle_mb:.0f} / {row.rss_loaded_mb:.0f}"


def _start(row: Row) -> str:
    return NOTHING if row.rss_idle_mb is None else f"{median(row.starts_s):.2f}"


def _added_ttft(row: Row, base: Row | None) -> str:
    if base is None or row is base:
        return NOTHING
    return f"{_ttft_ms(row) - _ttft_ms(base):.2f}"


def _ttft_ms(row: Row) -> float:
    return median(turn.calls.first_p50_us for turn in row.streams[STREAMS[0]]) / 1000


def _cpu_per_event(row: Row) -> str:
    figures = [_thousand(row, model) for model in STREAMS[1:]]
    return " / ".join(figures)


def _thousand(row: Row, model: str) -> str:
    costs = [
        1000 * turn.cpu.total_ms / max(1, turn.calls.events)
        for turn in row.streams[model]
        if turn.cpu is not None
    ]
    return f"{median(costs):.1f}" if costs else NOTHING


def _gap(row: Row) -> str:
    turns = row.streams.get(MANY)
    return f"{median(turn.calls.gap_p999_us for turn in turns) / 1000:.1f}" if turns else NOTHING


def _events(row: Row) -> str:
    turns = [turn for turns in row.streams.values() for turn in turns]
    return f"{sum(turn.sent for turn in turns):,} / {sum(turn.calls.events for turn in turns):,}"


def _ledger(row: Row) -> str:
    ledger = row.ledger
    if ledger is None:
        return ""
    sentences = [
        f"{row.name}: {row.records_checked:,} answered requests were looked for in the ledger.",
        f"`/health` at 100/s on an idle platform: {_lag(ledger.idle)};",
        f"under {ledger.rps:,.0f} requests/s: {_lag(ledger.busy)}.",
        f"{ledger.commits_per_s:,.0f} commits/s; {ledger.records_per_page:.0f} usage records a page.",
    ]
    return "\n".join(sentences)


def _lag(lag: Lag) -> str:
    return f"p50 {lag.p50_us / 1000:.2f} ms, p99 {lag.p99_us / 1000:.2f} ms, max {lag.max_us / 1000:.2f} ms"


def _problems(row: Row) -> str:
    return "\n".join(f"INVALID: {row.name}: {problem}." for problem in row.problems)
