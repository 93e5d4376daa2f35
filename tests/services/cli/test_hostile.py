"""Whatever commands are given, and whoever answers them: a sentence and an exit code, never a traceback."""

import json
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest
from click.testing import CliRunner, Result

from events.words import PenstockError
from services.cli.commands.engine import address
from services.cli.main import penstock as group
from tests.support.command import penstock
from tests.support.operating import Operated, operated
from tests.support.upstream import Upstream, answers, closes, says, upstream
from tests.support.wire import STREAM_HEAD, chunked

pytestmark = pytest.mark.anyio


def invoked(*arguments: str, given: bytes = b"", **variables: str) -> Result:
    """A command in this process, without any setting of Penstock but these."""
    kept = dict.fromkeys(("PENSTOCK_DATA_DIR", "PENSTOCK_URL", "PENSTOCK_API_KEY", "PENSTOCK_ADMIN_KEY"))
    return CliRunner().invoke(group, arguments, input=given, env=kept | variables, prog_name="penstock")


def sentence(result: Result) -> str:
    """What a command could not do."""
    assert isinstance(result.exception, PenstockError), (result.exception, result.output)
    told = str(result.exception)
    assert told.endswith(".")
    assert "\n" not in told
    return told


@pytest.fixture
async def answering() -> AsyncIterator[Upstream]:
    """Something that listens where a platform should."""
    async with upstream() as made:
        yield made


def against(port: int, **variables: str) -> dict[str, str]:
    keys = {"PENSTOCK_API_KEY": "psk_1", "PENSTOCK_ADMIN_KEY": "pak_1"}
    return {"PENSTOCK_URL": f"http://127.0.0.1:{port}"} | keys | variables


ASKS = {
    "keys create": ("keys", "create"),
    "keys list": ("keys", "list"),
    "keys revoke": ("keys", "revoke", "key_1"),
    "tenants create": ("tenants", "create", "acme"),
    "tenants list": ("tenants", "list"),
    "usage": ("usage",),
    "events dead": ("events", "dead"),
    "events replay": ("events", "replay", "d1"),
    "publish": ("publish", "{}"),
    "publish a question": ("publish", "--prompt", "Hi."),
    "chat": ("chat", "Hi."),
}
NO_PLATFORM = {
    "HTML": b"<html>",
    "nothing": b"",
    "no text": b"\xff",
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "data of another shape": b'{"data": {"id": 1}, "id": 1, "key": [], "request_id": null}',
    "rows of another shape": b'{"data": [5], "id": {}, "tenant": 5}',
    "depth": b'{"data": ' + b"[" * 20_000,
}


@pytest.mark.parametrize("content", NO_PLATFORM.values(), ids=NO_PLATFORM)
@pytest.mark.parametrize("arguments", ASKS.values(), ids=ASKS)
async def test_an_answer_that_is_no_platforms_is_told(
    answering: Upstream, arguments: tuple[str, ...], content: bytes
) -> None:
    # A head without a length: what httptools would refuse, Python's client reads to the close.
    answering.always = says(b"HTTP/1.1 200 OK\r\n\r\n" + content, then=closes)
    result = await anyio.to_thread.run_sync(partial(invoked, *arguments, **against(answering.port)))

    assert "does not speak like a platform" in sentence(result)


@pytest.mark.parametrize("content", [b"<html>", b"", b'{"error": 5}', b'{"error": {"message": 5}}'])
async def test_an_error_that_is_no_platforms_is_told_by_its_status(
    answering: Upstream, content: bytes
) -> None:
    answering.always = says(b"HTTP/1.1 418 Teapot\r\n\r\n" + content, then=closes)
    result = await anyio.to_thread.run_sync(partial(invoked, "usage", **against(answering.port)))

    assert "The platform answered with status 418." == sentence(result)


EVENTS = [
    b"data: {",
    b'data: {"choices": 5}',
    b'data: {"choices": [5]}',
    b'data: {"error": 5}',
    b"data: \xff",
]


@pytest.mark.parametrize("event", EVENTS)
async def test_a_stream_that_is_no_platforms_is_told(answering: Upstream, event: bytes) -> None:
    answering.always = says(STREAM_HEAD, *chunked([event + b"\n\n"]))
    chat = partial(invoked, "chat", "Hi.", "--model", "gemma", **against(answering.port))

    assert "does not speak like a platform" in sentence(await anyio.to_thread.run_sync(chat))


@pytest.mark.parametrize("event", [b"{", b"5", b"{}", b'{"topic": "a", "attributes": {"a": 5}, "data": 1}'])
async def test_a_conversation_that_is_no_platforms_is_told(answering: Upstream, event: bytes) -> None:
    answering.always = says(STREAM_HEAD, *chunked([event + b"\n"]))
    tail = partial(invoked, "events", "tail", **against(answering.port))

    assert "does not speak like a platform" in sentence(await anyio.to_thread.run_sync(tail))


async def test_odd_events_are_told_without_what_a_terminal_would_obey(answering: Upstream) -> None:
    event = {
        "topic": "a\x1b[2J",
        "attributes": {"ce-subject": "\x07b", "ce-time": "\x1b]0;"},
        "data": {"records": [5, {}], "x": "\r"},
    }
    answering.always = says(STREAM_HEAD, *chunked([json.dumps(event).encode() + b"\n"]))
    tail = partial(invoked, "events", "tail", "--count", "1", **against(answering.port))
    told = (await anyio.to_thread.run_sync(tail)).output

    assert "None=1" in told
    assert told.rstrip("\n").isprintable()


async def test_an_answer_that_is_more_than_text_is_printed_whole(answering: Upstream) -> None:
    body = {"choices": [{"message": {"content": None, "tool_calls": []}}]}
    found = {"status": "completed", "response": {"body": body}, "request_id": "req_1"}
    answering.always = answers(json.dumps(found).encode())
    publish = partial(invoked, "publish", "{}", "--wait", **against(answering.port))

    assert body == json.loads((await anyio.to_thread.run_sync(publish)).output)


USAGE = {
    "an idempotency key in other letters": ("publish", "{}", "--idempotency-key", "ключ"),
    "an idempotency key in two lines": ("publish", "{}", "--idempotency-key", "a\r\nb: c"),
    "an empty idempotency key": ("publish", "{}", "--idempotency-key", ""),
    "two bodies": ("publish", "{}", "--prompt", "Hi."),
    "a model for a body": ("publish", "{}", "--model", "gemma"),
    "a tenant without a name": ("publish", "{}", "--tenant", ""),
    "an empty key": ("keys", "revoke", ""),
    "a key in two lines": ("keys", "revoke", "a\nb"),
    "an empty tenant": ("tenants", "create", ""),
    "keys of nobody": ("keys", "list", "--tenant", ""),
    "usage of nobody": ("usage", "--tenant", ""),
    "no dead letters": ("events", "dead", "--limit", "0"),
    "all dead letters": ("events", "dead", "--limit", "1001"),
    "no dead letter": ("events", "replay", ""),
    "no events": ("events", "tail", "--count", "0"),
    "a data folder without a name": ("keys", "list", "--data-dir", ""),
    "an engine's port too high": ("engine", "--port", "99999"),
    "an engine's port below zero": ("engine", "--port", "-1"),
    "an engine's profile": ("engine", "--profile", "none"),
    "an engine's seed": ("engine", "--seed", "x"),
    "an engine's pace": ("engine", "--tokens-per-s", "0"),
    "an engine's log": ("engine", "--log", "/"),
    "an engine nowhere": ("engine", "--host", ""),
    "a platform's port": ("up", "--port", "65536"),
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_what_cannot_be_meant_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = invoked(*arguments, **against(1))

    assert 2 == result.exit_code, result.output
    assert "Usage: penstock" in result.output
    assert "Error: " in result.output


@pytest.mark.parametrize("arguments", [("publish", "-"), ("publish", " \n"), ("publish", "--prompt", "")])
@pytest.mark.parametrize("given", [b"", b" \n"], ids=["nothing", "blanks"])
def test_nothing_is_not_published(arguments: tuple[str, ...], given: bytes) -> None:
    assert "There is nothing to publish" in sentence(invoked(*arguments, given=given, **against(1)))


@pytest.mark.parametrize(("arguments", "given"), [(("chat", ""), b""), (("chat",), b"\n")])
def test_nothing_is_not_asked(arguments: tuple[str, ...], given: bytes) -> None:
    assert "There is nothing to ask" in sentence(invoked(*arguments, given=given, **against(1)))


def test_a_question_that_is_no_text_is_told() -> None:
    assert "Standard input is not UTF-8 text." == sentence(invoked("chat", given=b"\xff", **against(1)))


@pytest.mark.parametrize("key", ["ключ", "psk_1\nx: y", "\x7f", "\udcff"], ids=ascii)
@pytest.mark.parametrize(
    ("arguments", "variable"),
    [(("usage",), "PENSTOCK_ADMIN_KEY"), (("chat", "Hi."), "PENSTOCK_API_KEY")],
    ids=["operators", "callers"],
)
def test_a_key_that_cannot_be_one_is_told(arguments: tuple[str, ...], variable: str, key: str) -> None:
    told = sentence(invoked(*arguments, **against(1, **{variable: key})))

    assert f"{variable} does not hold a key: keys are one line of letters and digits." == told


def test_a_key_file_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "admin-key").write_bytes(b"\xff")
    where = {"PENSTOCK_URL": "http://127.0.0.1:1", "PENSTOCK_DATA_DIR": str(tmp_path)}

    assert "admin-key cannot be read." in sentence(invoked("usage", **where))


def test_the_keys_of_the_usual_folder_are_not_for_another_platform(tmp_path: Path) -> None:
    folder = tmp_path / "penstock"
    folder.mkdir()
    (folder / "admin-key").write_text("pak_1")
    where = {"PENSTOCK_URL": "http://127.0.0.1:1", "XDG_DATA_HOME": str(tmp_path)}

    assert "PENSTOCK_ADMIN_KEY is not set" in sentence(invoked("usage", **where))
    named = where | {"PENSTOCK_DATA_DIR": str(folder)}
    assert "No platform answers at" in sentence(invoked("usage", **named))


BAD_URLS = {
    "no port": "http://h:notaport",
    "a port too high": "http://h:99999",
    "no scheme": "localhost:4747",
    "no host": "http://",
    "another scheme": "ftp://h",
    "a path": "http://h:1/v1",
    "a query": "http://h:1?a",
    "a name and a word": "http://me:secret@h:1",
    "half a host": "http://[::1",
    "a space": "http://a b:1",
    "two lines": "http://a\n:1",
    "no text": "http://\udcff:1",
}


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
def test_a_url_that_is_none_is_told(url: str) -> None:
    told = sentence(invoked("usage", **(against(1) | {"PENSTOCK_URL": url})))

    assert told.endswith("; use a base URL like http://127.0.0.1:4747.")


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "no.such.host.invalid"])
def test_a_host_that_cannot_be_is_told(host: str) -> None:
    told = sentence(invoked("usage", **(against(1) | {"PENSTOCK_URL": f"http://{host}:1/"})))

    assert "No platform answers at" in told


def test_a_folder_whose_announcement_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "running.json").mkdir()

    assert "running.json cannot be read" in sentence(invoked("usage", "--data-dir", str(tmp_path)))
    file = tmp_path / "file"
    file.write_text("")
    assert "cannot be read" in sentence(invoked("usage", "--data-dir", str(file)))


@pytest.mark.slow
def test_an_engine_that_cannot_listen_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"The port {port} on 127.0.0.1 is taken." in penstock("engine", "--port", port).sentence
    for host in ("no.such.host.invalid", "a..b", "192.0.2.1", "x" * 70):
        assert f"Nothing can listen on {host}" in penstock("engine", "--port", "0", "--host", host).sentence


@pytest.mark.slow
def test_an_engine_whose_log_cannot_be_written_is_told(tmp_path: Path) -> None:
    log = tmp_path / "no" / "log"
    told = penstock("engine", "--port", "0", "--log", str(log)).sentence

    assert f"--log: {log} cannot be written: No such file or directory." == told


def test_an_engine_prints_an_address_one_can_call() -> None:
    assert ("http://[::1]:1", "http://localhost:1") == (address("::1", 1), address("localhost", 1))


@pytest.mark.slow
def test_an_argument_that_is_no_text_is_a_usage_error() -> None:
    ended = penstock("chat", "\udcff")

    assert (2, "penstock: the argument '\\udcff' is not UTF-8 text.\n") == (ended.code, ended.err)


@pytest.mark.slow
async def test_what_a_terminal_cannot_show_is_no_failure(answering: Upstream) -> None:
    answering.always = answers(json.dumps({"data": [{"id": "ключ"}]}).encode())
    tenants = partial(penstock, "tenants", "list", PYTHONIOENCODING="latin-1", **against(answering.port))
    ended = await anyio.to_thread.run_sync(tenants)

    assert (0, "") == (ended.code, ended.err)
    assert "????" in ended.out


@pytest.fixture
async def operators() -> AsyncIterator[Operated]:
    async with operated() as made:
        yield made


async def test_dead_letters_are_listed_and_delivered_again(operators: Operated) -> None:
    await operators.buries("req_1", b"The prompt.", "a \x1b[31mbad[/b] reason")
    where = against(operators.port, PENSTOCK_ADMIN_KEY=operators.admin_key)

    async def ran(*arguments: str) -> Result:
        return await anyio.to_thread.run_sync(partial(invoked, "events", *arguments, **where))

    told = (await ran("dead")).output
    (letter,) = json.loads((await ran("dead", "--json")).output)
    for shown in (
        "req_1",
        "acme",
        "1 attempt",
        "a \ufffd[31mbad[/b] reason",
        "inference-routed-v1.dispatcher",
    ):
        assert shown in told
    assert letter["id"] == told.splitlines()[0]
    assert "prompt" not in told + str(letter)

    assert f"{letter['id']} is delivered again.\n" == (await ran("replay", letter["id"])).output
    assert "No dead letters.\n" == (await ran("dead")).output
    assert [] == json.loads((await ran("dead", "--json")).output)
    assert f"There is no dead letter {letter['id']}." == sentence(await ran("replay", letter["id"]))
    await operators.buries("req_2", b"", "again")
    (letter,) = json.loads((await ran("dead", "--json")).output)
    assert {"id": letter["id"]} == json.loads((await ran("replay", letter["id"], "--json")).output)
