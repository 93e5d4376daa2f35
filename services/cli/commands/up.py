"""`penstock up`."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol

import click
import msgspec
from msgspec.structs import asdict

from events.words import Invalid
from services.cli import options
from services.runtime.local import LocalPlatform, Started
from services.runtime.logs import set_up_logs
from services.runtime.memory import settle
from services.runtime.settings import Settings, default_data_dir, read_settings
from services.runtime.version import version

if TYPE_CHECKING:
    from services.runtime.topology import Topology


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Where to listen; 0 takes any free port [default: 4747]."
)
@click.option("--host", help="The address to listen on [default: 127.0.0.1, this machine only].")
@click.option("--engine", metavar="URL", help="The engine that answers, such as http://127.0.0.1:11434.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Where Prometheus reads [default: 9090].")
@click.option(
    "--emulators",
    is_flag=True,
    help="Start every part as the process it is in the cloud, on Google's emulators.",
)
@options.data_dir
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line once it serves.")
def command(as_json: bool, emulators: bool, **given: str | int | None) -> None:
    """Start the whole platform on this machine: router, functions, dispatcher and scheduler on SQLite.

    It prints the address, a development key and a line to try. An engine is used if one is named, or
    found on its usual port (Ollama 11434, llama-server 8080, vLLM 8000) with a model; else the
    rehearsal engine answers, and says so. Everything kept lies in the data folder. Ctrl-C stops it.

    Every setting can also be given as an environment variable: PENSTOCK_PORT, PENSTOCK_ENGINE, ...;
    docs/settings.md lists them.

    With --emulators it is the platform of the cloud instead: router, dispatcher and functions are processes
    of their own that talk over Google's emulators of Pub/Sub and Firestore. Those keep everything in
    memory: at the end it is gone.
    """
    settings = read_settings(given)
    set_up_logs(settings.log_level, settings.log_format)
    os.umask(0o077)  # whatever it writes is for its owner alone
    platform = _topology(settings) if emulators else LocalPlatform(settings)
    run(serve(platform, settings, as_json=as_json))


def _topology(settings: Settings) -> "Topology":
    try:
        from services.runtime.topology import Topology  # noqa: PLC0415  (Google's clients take a second)
    except ModuleNotFoundError as error:
        raise Invalid(
            f"--emulators needs Google's clients ({error.name} is missing): install the extra `cloud`; "
            "in the repository, run ./penstock test --all once."
        ) from error
    return Topology(settings)


def run(work: Coroutine[None, None, None]) -> None:
    """Runs on uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415  (not on Windows)
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


class Platform(Protocol):
    """What can be up."""

    async def start(self) -> Started:
        """Brings everything up."""

    async def stop(self) -> None:
        """Ends it in order."""


async def serve(platform: Platform, settings: Settings, *, as_json: bool) -> None:
    """Until a signal ends it, also while it starts."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        if sys.platform != "win32":
            loop.add_signal_handler(name, stopped.set)
    started = await _start(platform, stopped)
    if started is None:
        click.echo("Stopped before it served.", err=True)
        return
    settle()
    try:
        click.echo(_json_line(started) if as_json else _welcome(started, settings))
        await stopped.wait()
    finally:
        if not as_json:
            click.echo("Stopping: calls under way may end first.", err=True)
        await platform.stop()


async def _start(platform: Platform, stopped: asyncio.Event) -> Started | None:
    """Starts it; None where it was stopped before it served."""
    starting = asyncio.create_task(platform.start())
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            return await starting
        return None
    stopping.cancel()
    return await starting


def _json_line(started: Started) -> bytes:
    return msgspec.json.encode(
        {
            "url": started.url,
            "key": started.key or None,
            "engine": started.engine,
            "metrics_url": started.metrics_url,
            "models": started.models,
            **({"parts": [asdict(part) for part in started.parts]} if started.parts else {}),
        }
    )


def _welcome(started: Started, settings: Settings) -> str:
    lines = [
        f"Penstock {version()} serves.",
        "",
        f"  API      {started.url}/v1",
        f"  Key      {started.key or 'PENSTOCK_API_KEY was revoked; make one: penstock keys create'}",
        f"  Engine   {started.engine}",
        *([f"  Metrics  {started.metrics_url}/metrics"] if started.metrics_url else ()),
        f"  Data     {settings.data_dir}",
        "",
        *(f"  {part.name:<11} pid {part.pid:<8} {part.at}" for part in started.parts),
        *([""] if started.parts else ()),
        *(_to_try(started, settings) if started.key else ()),
        "Ctrl-C stops.",
    ]
    return "\n".join(lines)


def _to_try(started: Started, settings: Settings) -> list[str]:
    hello = [{"role": "user", "content": "Hello"}]
    body = {"model": started.models[0], "stream": True, "messages": hello}
    return [
        "Try it:",
        "",
        f"  curl -N {started.url}/v1/chat/completions \\",
        f"    -H 'Authorization: Bearer {started.key}' -H 'Content-Type: application/json' \\",
        f"    -d {shlex.quote(json.dumps(body))}",
        "",
        f"Or: penstock chat{_where(settings)}",
        "",
    ]


def _where(settings: Settings) -> str:
    """How a command finds this data folder, where it is not the usual one."""
    with contextlib.suppress(Invalid):
        if settings.data_dir == default_data_dir(os.environ):
            return ""
    return f" --data-dir {shlex.quote(settings.data_dir)}"
