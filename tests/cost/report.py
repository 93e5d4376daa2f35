"""A run for people: tables in Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from cronsim import CronSim

from events.catalog import JOBS
from services.runtime.process import utc_now
from tests.cost.counts import (
    DELETES,
    DELIVERIES,
    MESSAGES,
    PUBLISHED,
    READS,
    STORE,
    WRITES,
    scaled,
    together,
    total,
)
from tests.cost.prices import PRICES, Price, dollars, firestore, pubsub
from tests.cost.results import ByPart, Idle, Measured, Run

T = TypeVar("T")

MILLION = 1e6
DAY_S = 86_400
GOAL = 0.05  # store writes of a synchronous request at 1,000 a second


def document(run: Run) -> str:
    """Everything."""
    parts = (
        _about(run),
        "### Synchronous requests",
        _synchronous(run.synchronous),
        "### Queued requests",
        _queued(run.queued),
        *_by_parts(run),
        "### A platform that nobody asks",
        _idle(run.idle),
        _reading(run),
        "### List prices",
        _prices(),
        *_problems([*run.synchronous, *run.queued]),
    )
    return "\n\n".join(parts)


def _about(run: Run) -> str:
    about = run.about
    return (
        f"`{run.command}`, {about.at}, {about.processor}, {about.cores} cores, Linux {about.system}, "
        f"Python {about.python}; engine: rehearsal, profile `{run.profile}`; load of the machine before the "
        f"run: {about.load_before:.2f}."
    )


def _table(rows: Iterable[T], columns: Mapping[str, Callable[[T], str]]) -> str:
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[show(row) for show in columns.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _synchronous(rows: Sequence[Measured]) -> str:
    columns: dict[str, Callable[[Measured], str]] = {
        "requests/s": lambda row: f"{row.rate:,.0f}",
        "router processes": lambda row: f"{row.routers}",
        "tenants": lambda row: f"{row.tenants:,}",
        "by": lambda row: row.way,
        "pages/s": lambda row: f"{row.pages.pages * row.rate / row.requests:,.1f}",
        "records a page": lambda row: f"{row.pages.records / row.pages.pages:,.1f}",
        **_of_one(),
    }
    return _table(rows, columns)


def _queued(rows: Sequence[Measured]) -> str:
    columns: dict[str, Callable[[Measured], str]] = {
        "requests/s": lambda row: f"{row.rate:,.0f}",
        "how": lambda row: row.way,
        **_of_one(),
    }
    return _table(rows, columns)


def _of_one() -> dict[str, Callable[[Measured], str]]:
    """Columns for one request, and dollars for a million."""
    return {
        "messages": lambda row: _figure(total(row.each, MESSAGES)),
        "deliveries": lambda row: _figure(total(row.each, DELIVERIES)),
        "bytes published": lambda row: f"{total(row.each, PUBLISHED):,.0f}",
        "reads": lambda row: _figure(total(row.each, READS)),
        "writes": lambda row: f"**{_figure(total(row.each, WRITES))}**",
        "deletes": lambda row: _figure(total(row.each, DELETES)),
        "Pub/Sub, $ a million": lambda row: _money(pubsub(row.each) * MILLION),
        "Firestore": lambda row: _money(firestore(row.each) * MILLION),
        "both": lambda row: f"**{_money(dollars(row.each) * MILLION)}**",
    }


def _by_parts(run: Run) -> Iterable[str]:
    """Where the operations of one request take place, for the fullest rows of both kinds."""
    most = max(
        (row for row in run.synchronous if row.routers == 1 and row.tenants <= 3), key=lambda row: row.rate
    )
    yield f"What one synchronous request does at {most.rate:,.0f}/s, by part:"
    yield _parts(most.counts, most.requests)
    if published := [row for row in run.queued if row.way == "published"]:
        row = published[len(published) // 2]
        yield f"What one published request does in its whole life, at {row.rate:,.0f}/s, by part:"
        yield _parts(row.counts, row.requests)


def _parts(counts: ByPart, requests: int) -> str:
    rows = [(part, scaled(found, 1 / requests)) for part, found in sorted(counts.items())]
    columns: dict[str, Callable[[tuple[str, Mapping[str, float]]], str]] = {
        "part": lambda row: row[0],
        "documents": lambda row: _named(row[1], STORE) or "-",
        "messages": lambda row: _named(row[1], (MESSAGES,)) or "-",
        "$ a million": lambda row: _money(dollars(row[1]) * MILLION),
    }
    return _table((row for row in rows if dollars(row[1]) * MILLION >= 0.0005), columns)


def _named(counts: Mapping[str, float], kinds: Sequence[str]) -> str:
    """Each name that shows in three decimals."""
    found = {name: n for name, n in sorted(counts.items()) if name.partition(" ")[0] in kinds and n >= 0.0005}
    return ", ".join(f"{_figure(n)} {name.removeprefix('messages ')}" for name, n in found.items())


def _idle(idle: Idle) -> str:
    """By part and job in a day."""
    rows = [(part, scaled(found, DAY_S)) for part, found in sorted(idle.polls.items())]
    for name, parts in idle.jobs.items():
        runs = _runs_a_day(name)
        rows.append((f"job {name}, {runs:,} a day", scaled(_own(name, parts), runs)))
    rows = [row for row in rows if any(row[1].values())]
    rows.append(("all of it", together(counts for _, counts in rows)))
    columns: dict[str, Callable[[tuple[str, Mapping[str, float]]], str]] = {
        "a day of": lambda row: row[0],
        "reads": lambda row: f"{total(row[1], READS):,.0f}",
        "writes": lambda row: f"{total(row[1], WRITES):,.0f}",
        "messages": lambda row: f"{total(row[1], MESSAGES):,.0f}",
        "deliveries": lambda row: f"{total(row[1], DELIVERIES):,.0f}",
        "$": lambda row: f"{dollars(row[1]):.4f}",
    }
    return _table(rows, columns)


def _own(job: str, parts: ByPart) -> dict[str, float]:
    """What a run costs who starts it and who runs it; what others did meanwhile is theirs."""
    consumer = next(one.consumer for one in JOBS if one.name == job)
    return together(parts.get(part, {}) for part in ("scheduler", consumer))


def _runs_a_day(name: str) -> int:
    """By its schedule, which is all that Cloud Scheduler does."""
    job = next(one for one in JOBS if one.name == name)
    times = CronSim(job.schedule, utc_now())
    first = next(times)
    return round(DAY_S / (next(times) - first).total_seconds())


def _reading(run: Run) -> str:
    documents, lines = run.reading_usage
    return (
        f"A router's start reads {_named(run.idle.start, (READS,)).replace('reads ', '')}, and each key once "
        "that it is shown. "
        f"One `penstock usage` that shows {lines:,} lines reads {documents:,} documents."
    )


def _prices() -> str:
    columns: dict[str, Callable[[Price], str]] = {
        "what": lambda price: price.what,
        "$": lambda price: f"{price.dollars:g}",
        "for": lambda price: price.unit,
        "where": lambda price: price.where,
        "list of": lambda price: f"{price.read_on}, {price.source}",
    }
    return _table(PRICES, columns)


def _problems(rows: Iterable[Measured]) -> list[str]:
    return [f"**{row.name}, {row.way}: {problem}.**" for row in rows for problem in row.problems]


def _figure(number: float) -> str:
    shown = f"{number:.3f}" if number < 10 else f"{number:,.1f}"
    return shown.rstrip("0").rstrip(".")


def _money(number: float) -> str:
    return f"{number:,.2f}"
