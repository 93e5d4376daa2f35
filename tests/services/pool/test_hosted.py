"""Hosted endpoints: over TLS that is checked, by paths of their own, and with a key that shows nowhere."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from events.config import Backend
from events.words import Unavailable
from services.pool.credentials import Grant, Renewed
from services.pool.flight import value_of
from services.pool.hosted import HostedReplica
from services.pool.replica import Replica
from services.pool.tls import make_tls
from tests.services.pool.receiving import Heard
from tests.support import wire
from tests.support.certificates import Authority
from tests.support.upstream import (
    Upstream,
    answers,
    begins,
    never_ends,
    says,
    streams,
    upstream,
)

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"
KEY = "hush-hush-hush"
WHOLE = ["sent", "responded", "received", "completed"]


class Held:
    """Credentials that are there, or not."""

    def __init__(self, line: bytes = Grant(KEY).line) -> None:
        self.line = line

    def hold(self) -> None: ...

    def let_go(self) -> None: ...

    def lacking(self) -> str:
        return "" if self.line else "the key in A_KEY, which is not there yet"

    def header(self) -> bytes:
        return self.line


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


@pytest.fixture
async def secured(authority: Authority) -> AsyncIterator[Upstream]:
    async with upstream(authority.server("127.0.0.1", "localhost")) as made:
        yield made


Hosted = Callable[..., HostedReplica]


@pytest.fixture
def hosted() -> Iterator[Hosted]:
    made: list[HostedReplica] = []

    def make(url: str, **more: object) -> HostedReplica:
        backend = Backend(url=url, **more)
        made.append(HostedReplica(backend, Held(), tls=make_tls))
        return made[-1]

    yield make
    for one in made:
        one.retire()


def call(replica: Replica, body: bytes = b"{}") -> Heard:
    heard = Heard()
    replica.send(PATH, b"x-one: 1\r\n", body, heard)
    return heard


async def test_an_endpoint_is_called_by_its_own_path_with_its_key(secured: Upstream, hosted: Hosted) -> None:
    replica = hosted(f"{secured.url}/v1beta/openai/")
    for _ in range(2):
        assert WHOLE == (await call(replica).end()).news

    got = secured.calls[0]
    assert got.head.startswith(b"POST /v1beta/openai/chat/completions HTTP/1.1\r\n")
    assert (f"Bearer {KEY}", "1") == (got.headers["authorization"], got.headers["x-one"])
    assert f"127.0.0.1:{secured.port}" == got.headers["host"]
    assert 1 == secured.accepted  # the connection is kept


async def test_replicas_of_the_pool_may_speak_tls_and_get_no_key(secured: Upstream) -> None:
    replica = Replica(secured.url, tls=make_tls)
    assert WHOLE == (await call(replica).end()).news
    replica.close()

    assert secured.calls[0].head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert "authorization" not in secured.calls[0].headers


async def test_an_endpoint_on_this_machine_may_be_plain(engine: Upstream, hosted: Hosted) -> None:
    assert WHOLE == (await call(hosted(f"{engine.url}/api")).end()).news
    assert engine.calls[0].head.startswith(b"POST /api/chat/completions HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://host/v1", b"host: host\r\n"),
        ("https://host:443/v1", b"host: host\r\n"),
        ("http://host:443", b"host: host:443\r\n"),
        ("http://[::1]:8000", b"host: [::1]:8000\r\n"),
    ],
)
async def test_a_host_is_named_with_its_port_unless_that_is_the_usual_one(url: str, host: bytes) -> None:
    flight = Replica(url).send(PATH, b"", b"", Heard())
    assert host in flight.head
    flight.cancel()


# --- certificates


async def refused(replica: Replica, caplog: pytest.LogCaptureFixture) -> str:
    heard = await call(replica).end()
    assert ["failed"] == heard.news
    assert heard.failure is not None
    assert "connect" == heard.failure.kind
    assert replica.aside_until
    assert heard.failure.message in caplog.text  # an operator has to do something
    assert KEY not in caplog.text + repr(heard.failure)
    return heard.failure.message


async def test_who_nobody_vouches_for_is_not_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosted: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with upstream(Authority(tmp_path).server("127.0.0.1")) as engine:
        message = await refused(hosted(engine.url), caplog)
    assert "its certificate is not accepted: unable to get local issuer certificate" in message
    assert not engine.calls


async def test_an_expired_certificate_is_not_accepted(
    authority: Authority, hosted: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    async with upstream(authority.server("127.0.0.1", lasts=-dt.timedelta(days=1))) as engine:
        assert "certificate has expired" in await refused(hosted(engine.url), caplog)
    assert not engine.calls


async def test_a_certificate_of_another_host_is_not_accepted(
    authority: Authority, hosted: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    async with upstream(authority.server("another.example", "10.9.9.9")) as engine:
        assert "certificate is not valid for '127.0.0.1'" in await refused(hosted(engine.url), caplog)
    assert not engine.calls


async def test_who_does_not_speak_tls_is_told_apart(
    engine: Upstream, hosted: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    engine.on_connect = says(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    assert "TLS failed" in await refused(hosted(engine.url.replace("http", "https")), caplog)


# --- as with plain connections


async def test_a_call_that_is_cancelled_hangs_up(secured: Upstream, hosted: Hosted) -> None:
    secured.will(begins(wire.delta("a")))
    heard = Heard()
    flight = hosted(secured.url).send(PATH, b"", b"{}", heard)
    await heard.hears("received")
    flight.cancel()

    await secured.calls[0].left()
    assert "completed" not in heard.news and "failed" not in heard.news


async def test_a_connection_the_endpoint_closed_is_not_used(secured: Upstream, hosted: Hosted) -> None:
    replica = hosted(secured.url)
    await call(replica).end()
    secured.drop_idle()
    while replica._idle:  # it hears of it within a turn or two
        await _turn()
    assert WHOLE == (await call(replica).end()).news
    assert 2 == secured.accepted


async def test_a_paused_answer_holds_its_endpoint_back(secured: Upstream, hosted: Hosted) -> None:
    secured.will(never_ends(wire.delta("x" * 10_000)))
    heard = Heard()
    flight = hosted(secured.url).send(PATH, b"", b"{}", heard)
    await heard.hears("received")
    flight.pause()
    line = secured.calls[0]._line
    while line.writable.is_set():
        await _turn()
    size = len(heard.body)
    flight.resume()
    while len(heard.body) == size:
        await _turn()
    flight.cancel()


async def _turn() -> None:
    await asyncio.sleep(0.001)


async def test_calls_that_come_to_nothing_put_it_aside(secured: Upstream, hosted: Hosted) -> None:
    replica = hosted(secured.url)
    secured.always = answers(b"{}", 500)
    for _ in range(5):
        await call(replica).end()
    assert replica.aside_until > replica.now()


# --- the key


async def test_without_its_key_nothing_is_sent(secured: Upstream) -> None:
    replica = HostedReplica(Backend(url=secured.url), Held(b""), tls=make_tls)
    heard = call(replica)
    assert 1 == replica.in_flight
    await heard.end()

    assert heard.failure is not None
    assert f"{secured.url} needs the key in A_KEY, which is not there yet" == heard.failure.message
    assert (0, 0) == (secured.accepted, replica.in_flight)


async def test_an_endpoint_without_a_key_gets_none(secured: Upstream) -> None:
    replica = HostedReplica(Backend(url=secured.url), None, tls=make_tls)
    assert WHOLE == (await call(replica).end()).news
    assert "authorization" not in secured.calls[0].headers
    replica.retire()


async def test_an_error_that_repeats_the_key_is_told_without_it(secured: Upstream, hosted: Hosted) -> None:
    said = b'{"error": {"message": "no: Bearer %b"}}' % KEY.encode()
    secured.will(says(*[bytes([one]) for one in wire.response(said, 400)]))
    heard = await call(hosted(secured.url)).end()

    assert WHOLE == heard.news
    assert (400, b'{"error": {"message": "no: Bearer ***"}}') == (heard.status, heard.body)


def test_nothing_shows_the_key(hosted: Hosted) -> None:
    replica = hosted("https://host/v1")
    shown = repr(replica) + repr(Grant(KEY)) + repr(Renewed("the key", _never))
    assert KEY not in shown


async def _never() -> Grant:
    raise Unavailable("no")


async def test_a_stream_passes_as_it_is(secured: Upstream, hosted: Hosted) -> None:
    events = (wire.delta("a"), wire.usage_event(1, 2), wire.DONE)
    secured.will(streams(*events))
    assert b"".join(events) == (await call(hosted(secured.url)).end()).body


async def test_retired_connections_close_when_their_call_ended(secured: Upstream, hosted: Hosted) -> None:
    replica = hosted(secured.url)
    secured.will(streams(wire.delta("a"), wire.DONE))
    heard = call(replica)
    await heard.hears("sent")
    replica.retire()
    assert "completed" in (await heard.end()).news
    await secured.calls[0].left()


# --- Gemini's errors


LIMITED = b"""[{"error": {"code": 429, "message": "You exceeded your current quota.",
  "status": "RESOURCE_EXHAUSTED", "details": [
  {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
  {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]}}]"""


async def test_how_long_gemini_asks_to_wait_is_heard_as_a_header(engine: Upstream, hosted: Hosted) -> None:
    engine.will(answers(LIMITED, 429))
    heard = await call(hosted(engine.url, kind="gemini")).end()
    assert (429, b"35", LIMITED) == (heard.status, value_of(heard.headers, b"retry-after"), heard.body)
