"""`penstock serve`: one process of a platform in the cloud."""

import asyncio
import os
import signal
from typing import Protocol

import click

from services.cli.commands.up import run
from services.runtime.logs import set_up_logs
from services.runtime.memory import settle
from services.runtime.settings import Settings, read_settings


class Process(Protocol):
    """Something that is started, and stopped in order."""

    async def start(self) -> object:
        """Opens everything and begins."""

    async def stop(self) -> None:
        """Ends what is under way, and closes everything."""


_port = click.option(
    "--port", type=click.IntRange(0, 65535), help="Where to listen [default: $PORT, else 4747]."
)
_host = click.option("--host", help="The address to listen on [default: all].")


@click.group()
def command() -> None:
    """Run one process of a platform on Google Cloud: the router or the dispatcher.

    Both find their project, Pub/Sub and Firestore in the environment, as Cloud Run sets it; the functions
    run under functions-framework. `penstock up --emulators` starts all of them on this machine.
    """


@command.command()
@_port
@_host
def router(port: int | None, host: str | None) -> None:
    """The router: OpenAI's API over HTTPS."""
    from services.runtime.cloud import RouterProcess  # noqa: PLC0415  (Google's clients take a second)
    from services.runtime.cloud_settings import read_cloud_settings  # noqa: PLC0415

    run(until_stopped(RouterProcess(_prepared(port, host), read_cloud_settings())))


@command.command()
@_port
@_host
def dispatcher(port: int | None, host: str | None) -> None:
    """The dispatcher: runs queued requests on the pool. Nobody calls it but probes: it answers them at
    /health and /ready, and Prometheus at /metrics.
    """
    from services.runtime.cloud import DispatcherProcess  # noqa: PLC0415
    from services.runtime.cloud_settings import read_cloud_settings  # noqa: PLC0415

    run(until_stopped(DispatcherProcess(_prepared(port, host), read_cloud_settings())))


def _prepared(port: int | None, host: str | None) -> Settings:
    listen = {"port": port if port is not None else os.environ.get("PORT"), "host": host or "0.0.0.0"}  # noqa: S104
    settings = read_settings({**listen, "data_dir": "."})  # nothing is kept on this machine
    set_up_logs(settings.log_level, settings.log_format)
    return settings


async def until_stopped(process: Process) -> None:
    """Runs a process until a signal ends it."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    await process.start()
    settle()
    try:
        await stopped.wait()
    finally:
        await process.stop()
