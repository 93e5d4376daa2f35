"""`penstock up` as a process: what it prints, how it stops, and what it says where it cannot start."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
import pytest

from tests.support import client
from tests.support.client import connected
from tests.support.command import Up, penstock, started, up
from tests.support.platform import CHAT, config_file
from tests.support.upstream import Call, Upstream, begins, hangs, upstream
from tests.support.wire import DONE, STREAM_HEAD, chat, chunked, delta, events_of, request

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Result = TypeVar("Result")


async def waited(wait: Callable[..., Result], *arguments: object) -> Result:
    """The result of what waits for a process, while the engine in this one goes on."""
    return await anyio.to_thread.run_sync(partial(wait, *arguments))


class Place:
    """A data folder and an engine for platforms in processes of their own."""

    def __init__(self, folder: Path, engine: Upstream) -> None:
        self.folder = folder
        self.engine = engine
        self.config = config_file(folder, engine.url)

    def up(self, *arguments: str, **variables: str) -> Any:
        return up(self.folder, *arguments, PENSTOCK_CONFIG=self.config, **variables)


@pytest.fixture
async def place(tmp_path: Path) -> Any:
    async with upstream() as engine:
        yield Place(tmp_path, engine)


def keyed(platform: Up) -> dict[str, str]:
    return {"authorization": f"Bearer {platform.key}", "content-type": "application/json"}


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_its_first_line_says_all_a_script_needs_and_a_signal_ends_it(
    place: Place, signal_number: signal.Signals
) -> None:
    with place.up() as platform:
        told = platform.first_line
        answer = await client.ask(platform.port, "POST", CHAT, chat(), keyed(platform))
        assert (place.folder / "running.json").exists()
        ended = await waited(platform.process.stop, signal_number)

    assert {"url", "key", "engine", "metrics_url", "models"} == set(told)
    assert (200, ["gemma"]) == (answer.status, told["models"])
    assert (0, "", "") == (ended.code, ended.out, ended.err)
    assert not (place.folder / "running.json").exists()


async def test_people_are_told_an_address_a_key_and_a_line_to_try(place: Place) -> None:
    ports = ("--port", "0", "--metrics-port", "0")
    where = ("--data-dir", str(place.folder))
    with started("up", *ports, *where, PENSTOCK_CONFIG=place.config) as process:
        while "Ctrl-C" not in await waited(process.line):
            pass
        listed = await waited(partial(penstock, "keys", "list", "--json", *where))
        ended = await waited(process.stop, signal.SIGTERM)

    assert 0 == listed.code
    assert 0 == ended.code
    assert "Stopping" in ended.err


async def test_a_running_stream_may_end_before_the_process_does(place: Place) -> None:
    place.engine.will(begins(delta("a")))
    with place.up(PENSTOCK_DRAIN_S="20") as platform:
        async with connected(platform.port) as caller:
            await caller.send(request("POST", CHAT, chat(stream=True), keyed(platform)))
            await caller.head()
            assert delta("a") == await caller.chunk()
            platform.process.child.send_signal(signal.SIGTERM)
            await refuses(platform.port)
            await place.engine.calls[0].send(*chunked([delta("b"), DONE]))
            rest = await caller.rest()
        ended = await waited(platform.process.end)

    assert b"".join(chunked([delta("b"), DONE])) == rest
    assert 0 == ended.code


async def refuses(port: int) -> None:
    """Waits until nobody listens any more."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with connected(port):
                    await asyncio.sleep(0.01)
            except ConnectionError:
                return


async def test_a_stream_that_outlasts_the_drain_is_ended_in_band(place: Place) -> None:
    place.engine.will(begins(delta("a")))
    with place.up(PENSTOCK_DRAIN_S="0.2") as platform:
        async with connected(platform.port) as caller:
            await caller.send(request("POST", CHAT, chat(stream=True), keyed(platform)))
            await caller.head()
            await caller.chunk()
            platform.process.child.send_signal(signal.SIGTERM)
            last = await caller.chunk()
            assert b"" == await caller.chunk()
        ended = await waited(platform.process.end)

    assert "shutting_down" == events_of(last)[0]["error"]["code"]
    assert (0, "") == (ended.code, ended.err)


async def test_a_call_without_a_stream_that_outlasts_the_drain_gets_an_error(place: Place) -> None:
    place.engine.will(hangs)
    with place.up(PENSTOCK_DRAIN_S="0.2") as platform:
        async with connected(platform.port) as caller:
            await caller.send(request("POST", CHAT, chat(), keyed(platform)))
            await place.engine.call()
            platform.process.child.send_signal(signal.SIGTERM)
            answer = await caller.response()
        await waited(platform.process.end)

    assert (503, "shutting_down") == (answer.status, answer.error["code"])


async def test_a_second_platform_on_the_same_folder_says_where_the_first_one_is(place: Place) -> None:
    with place.up() as first:
        second = partial(penstock, "up", "--port", "0", "--data-dir", str(place.folder))
        told = (await waited(partial(second, PENSTOCK_CONFIG=place.config))).sentence

    assert f"at {first.first_line['url']} (pid {first.process.child.pid})" in told


def fails(folder: Path, *arguments: str, **variables: str) -> str:
    return penstock("up", "--data-dir", str(folder / "data"), *arguments, **variables).sentence


def test_a_taken_port_is_told_with_the_way_out(tmp_path: Path) -> None:
    config = config_file(tmp_path, "http://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        told = fails(tmp_path, "--port", port, PENSTOCK_CONFIG=config)

    assert f"The port {port} on 127.0.0.1 is taken." in told
    assert "--port (0 takes any free one)" in told


def test_a_setting_that_is_not_right_is_told_by_its_name(tmp_path: Path) -> None:
    told = fails(tmp_path, PENSTOCK_PORT="99999")

    assert "PENSTOCK_PORT is '99999'; use a whole number from 0 to 65535." == told


@pytest.mark.parametrize("option", ["--host", "--engine"])
def test_an_option_without_a_value_is_told(tmp_path: Path, option: str) -> None:
    assert "is ''; use a " in fails(tmp_path, option, "")


def test_an_engine_beside_a_configuration_is_told(tmp_path: Path) -> None:
    config = config_file(tmp_path, "http://127.0.0.1:1")

    assert "unset PENSTOCK_CONFIG" in fails(
        tmp_path, "--engine", "http://127.0.0.1:1", PENSTOCK_CONFIG=config
    )


def test_an_engine_that_does_not_answer_is_told(tmp_path: Path) -> None:
    assert "No engine with a model answers at" in fails(tmp_path, "--engine", "http://127.0.0.1:1")


def test_a_command_without_a_platform_says_how_to_start_one(tmp_path: Path) -> None:
    told = penstock("keys", "list", "--data-dir", str(tmp_path)).sentence

    assert "penstock up" in told
    assert str(tmp_path) in told


async def test_a_command_that_finds_a_dead_platform_says_so(place: Place) -> None:
    with place.up() as platform:
        platform.process.child.kill()
        await waited(platform.process.child.wait)
    told = await waited(partial(penstock, "keys", "list", "--data-dir", str(place.folder)))

    assert f"No platform runs on {place.folder}." in told.sentence


async def test_whoever_takes_the_port_of_a_dead_platform_gets_no_key(place: Place) -> None:
    with place.up() as platform:
        platform.process.child.kill()
        await waited(platform.process.child.wait)
    assert (place.folder / "running.json").exists()
    impostor = Upstream()
    impostor.port = platform.port
    await impostor.listen()
    for command in (("keys", "list"), ("chat", "Hi.", "--model", "gemma")):
        told = await waited(partial(penstock, *command, "--data-dir", str(place.folder)))
        assert "No platform runs on" in told.sentence
    await impostor.refuse()

    assert (0, []) == (impostor.accepted, impostor.calls)


async def drips(call: Call) -> None:
    """Sends a byte now and then, for ever."""
    await call.send(STREAM_HEAD)
    while not call.gone.is_set():
        await call.send(b"1\r\n \r\n")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_while_it_still_waits_for_an_engine(
    tmp_path: Path, signal_number: signal.Signals
) -> None:
    async with upstream() as engine:
        engine.always = drips
        where = ("--engine", engine.url, "--data-dir", str(tmp_path / "data"))
        with started("up", "--port", "0", "--metrics-port", "0", *where) as process:
            await engine.call()
            ended = await waited(process.stop, signal_number)
            await engine.calls[0].left()

    assert (0, "", "Stopped before it served.\n") == (ended.code, ended.out, ended.err)


async def test_what_it_writes_is_its_owners_alone(place: Place) -> None:
    data = place.folder / "deep" / "data"
    earlier = os.umask(0o022)
    try:
        with up(data, PENSTOCK_CONFIG=place.config) as platform:
            modes = {path.name: path.stat().st_mode & 0o777 for path in data.iterdir()}
            await waited(platform.process.stop, signal.SIGTERM)
    finally:
        os.umask(earlier)

    assert {"data.db", "data.db-wal", "data.db-shm", "data-keys.db", "running.json", "api-key"} <= set(modes)
    assert {} == {name: mode for name, mode in modes.items() if mode & 0o077}
    assert 0o700 == data.stat().st_mode & 0o777


async def test_people_are_told_how_commands_find_an_unusual_data_folder(place: Place) -> None:
    where = ("--data-dir", str(place.folder))
    with started("up", "--port", "0", "--metrics-port", "0", *where, PENSTOCK_CONFIG=place.config) as process:
        while not (line := await waited(process.line)).startswith("Or:"):
            pass
        await waited(process.stop, signal.SIGTERM)

    assert f"Or: penstock chat --data-dir {place.folder}" == line


async def test_a_killed_platform_starts_again_and_has_lost_nothing(place: Place) -> None:
    place.engine.will(hangs)
    with place.up() as first:
        queued = await client.ask(first.port, "POST", "/v1/requests", chat(), keyed(first))
        await place.engine.call()
        first.process.child.kill()
    with place.up() as second:
        path = f"/v1/requests/{queued.json['id']}?wait=9"
        read = await client.ask(second.port, "GET", path, headers=keyed(second))
        await waited(second.process.stop, signal.SIGTERM)

    assert first.key == second.key
    assert "completed" == read.json["status"]
    assert 2 == len(place.engine.calls)
