"""`penstock advise`."""

from collections.abc import Iterator

import click
import msgspec

from events.words import Unavailable
from services.cli import options, platform, show

TOPIC = "fleet-advised-v1"
NONE = "No advice yet: it follows the first report, ten seconds after the start."
COLUMNS = {
    "backend": "BACKEND",
    "now": "NOW",
    "wanted": "WANTED",
    "min": "MIN",
    "max": "MAX",
    "advised_at": "ADVISED (UTC)",
}


class _Advised(msgspec.Struct):
    backend: str
    now: int
    wanted: int
    reason: str
    advised_at: str = ""


class _Rows(msgspec.Struct):
    data: list[_Advised]


class _Event(msgspec.Struct):
    topic: str
    attributes: dict[str, str]
    data: msgspec.Raw


@click.command()
@click.option("--watch", is_flag=True, help="Go on: print what is advised from now on, until Ctrl-C.")
@click.option("--count", type=click.IntRange(1), help="With --watch, stop after so many lines.")
@options.data_dir
@options.json_output
def command(watch: bool, count: int | None, data_dir: str | None, as_json: bool) -> None:
    """Show how many replicas each backend should have, and why.

    It is advice: nothing is scaled. How many slots are busy follows from how many requests arrive and how
    long each takes; more are added to drain the queue in time, and for chance. Fewer are advised only once
    fewer have been enough for a while. How many a backend may have, how many slots a replica has and how
    long one boots stands in the configuration, under `fleet`.

    --watch prints a line for the latest advice on each backend, then one whenever the number changes, and
    else one a minute; with --json each is a JSON line.
    """
    there = platform.find(data_dir)
    if watch:
        _watch(there, count, as_json=as_json)
        return
    answer = there.admin("GET", "/advice")
    rows = answer.read(platform.Rows).data
    if as_json:
        show.as_json(rows)
        return
    show.as_table(rows, COLUMNS, empty=NONE)
    for advised in answer.read(_Rows).data:
        click.echo(f"\n{show.plain(advised.backend)}: {show.plain(advised.reason)}")


def _watch(there: platform.Platform, count: int | None, *, as_json: bool) -> None:
    try:
        for shown, line in enumerate(_lines(there, as_json=as_json), 1):
            click.echo(line)
            if shown == count:
                return
    except KeyboardInterrupt:
        click.echo()
        return
    raise Unavailable(f"The platform at {there.url} ended the conversation.")


def _lines(there: platform.Platform, *, as_json: bool) -> Iterator[str | bytes]:
    """What was advised last, then what is told from then on."""
    conversation = there.stream("GET", "/admin/v1/events", b"", admin=True)
    next(conversation, b"")  # it has begun, so nothing is missed
    answer = there.admin("GET", "/advice")
    if as_json:
        yield from map(msgspec.json.encode, answer.read(platform.Rows).data)
    else:
        yield from (_line(advised, advised.advised_at) for advised in answer.read(_Rows).data)
    for told in conversation:
        event = platform.read(told, _Event, there.url) if told.strip() else None
        if event is not None and event.topic == TOPIC:
            data = bytes(event.data)
            advised = platform.read(data, _Advised, there.url)
            yield data if as_json else _line(advised, event.attributes.get("ce-time", ""))


def _line(advised: _Advised, time: str) -> str:
    change = f"{advised.now} → {advised.wanted}"
    return f"{show.plain(time[11:19])} {show.plain(advised.backend)} {change}  {show.plain(advised.reason)}"
