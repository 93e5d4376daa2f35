"""What is fuzzed: each target takes any bytes, and raises where the product breaks a rule about them."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import zip_longest

import msgspec

from events.catalog import KNOWN
from events.config import Backend, Config, Model
from events.config_reading import Unfit, read
from events.envelope import decode
from events.words import Invalid, Refusal
from functions.caching.directives import directives_of
from functions.caching.key import fields_of, framing_of, key_of
from functions.request.admission import Admitted, admit
from functions.request.submission import Options, Submission, read_submission
from services.guarding.guard import Cut
from services.guarding.sieve import Sieve
from services.pool.engine_errors import refusal_of
from services.pool.sse import estimate_output, read_answer
from services.pool.stream import EventStream
from services.pool.wire import for_engine
from services.router.gate import token_of
from tests.fuzz import reading
from tests.support.guards import Passing, Redacting

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config(
    backends={"pool": Backend(replicas=("http://engine:8000",))},
    models={"gemma": Model(backend="pool"), "small": Model(backend="pool", context=100, vision=False)},
)

_loop = asyncio.new_event_loop()


def front(data: bytes) -> None:
    """However a stream is cut, it is read alike; and another reader takes what is taken for the same."""
    size, places, stream = (data or b"\0")[0] % 8, data[1:16], data[16:]
    whole = _loop.run_until_complete(reading.read([stream]))
    pieces = reading.cut(stream, places[:size])
    assert whole == _loop.run_until_complete(reading.read(pieces)), pieces
    if size == 7:
        crumbs = [stream[at : at + 1] for at in range(len(stream))]
        assert whole == _loop.run_until_complete(reading.read(crumbs))
    assert 1 >= len([status for status in whole.statuses if status >= 400]), whole
    for ours, other in zip_longest(whole.asked, list(reading.by_another(stream))):
        if ours is None or other is None:  # one of them refused
            break
        assert reading.plain(ours) == reading.plain(other)
        assert not any(b"\r" in value or b"\n" in value or b"\0" in value for value in ours.headers.values())


def admission(data: bytes) -> None:
    """A body is admitted or refused, and what is admitted can be written to an engine and keyed."""
    verdict = admit(data, CONFIG)
    assert isinstance(verdict, Admitted | Refusal)
    if isinstance(verdict, Refusal):
        assert 400 <= verdict.status < 500
        assert len(verdict.problem.message) < 2000
        return
    sent = msgspec.json.decode(for_engine(data, verdict, "served"))
    assert "served" == sent["model"]
    framing = framing_of(stream=verdict.stream, wants_usage=verdict.wants_usage)
    assert key_of(b"s" * 32, "acme", "", CONFIG.models["gemma"], framing, fields_of(data))


def submission(data: bytes) -> None:
    """What is handed in is taken with all of its options, or refused."""
    taken = read_submission(data, Options(), now=NOW, default_deadline_s=60)
    assert isinstance(taken, Submission | Refusal)
    if isinstance(taken, Submission):
        assert NOW <= taken.deadline_at
        admission(taken.body)


def config(data: bytes) -> None:
    """A document is a configuration that can be used and written again, or every mistake is told."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    try:
        found = read(document)
    except Unfit as error:
        assert error.mistakes
        return
    assert found.models.keys() <= found.plans.keys()
    assert found == read(msgspec.to_builtins(found))


def envelope(data: bytes) -> None:
    """A message is an event or invalid: attributes in the first line, as JSON, the event behind it."""
    line, _, body = data.partition(b"\n")
    try:
        attributes = msgspec.json.decode(line, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        attributes = dict(zip(ATTRIBUTES, line.decode("latin-1").split("\t"), strict=False))
    with suppress(Invalid):
        heard = decode(attributes, body, KNOWN)
        assert heard.event is not None
        assert heard.time.tzinfo is not None


ATTRIBUTES = ("ce-specversion", "ce-type", "ce-id", "ce-source", "ce-time", "ce-subject", "ce-tenant")


def sse(data: bytes) -> None:
    """An engine's stream is read alike however it is cut, and nothing of it is lost or made up."""
    size, places, stream = (data or b"\0")[0] % 8, data[1:16], data[16:]
    for wants_usage in (False, True):
        told, ended, failed = _streamed([stream], wants_usage)
        assert _close(told) in _close(stream) or not wants_usage
        if b"\r" not in stream:  # engines mix line ends nowhere but here
            crumbs = _streamed(reading.cut(stream, places[:size]), wants_usage)
            assert (_close(told), ended, failed) == (_close(crumbs[0]), *crumbs[1:])
    assert 0 <= estimate_output(stream)
    with suppress(ValueError):  # as it promises
        read_answer(stream)


def _close(told: bytes) -> bytes:
    """Without more blank lines than need be: which event a third one belongs to, nobody can tell."""
    return re.sub(rb"[\r\n]+", b"\n", told).strip(b"\n")


def _streamed(pieces: list[bytes], wants_usage: bool) -> tuple[bytes, bytes, bool]:
    """What of a stream is passed on, what is added at its end, and whether it told an error."""
    stream = EventStream(wants_usage=wants_usage)
    told = b""
    for piece in pieces:
        told += stream.feed(piece)
        if stream.failed:
            return told, b"", True
    return told, stream.end(), False


def guard(data: bytes) -> None:
    """A word that a guard redacts comes out nowhere, or the stream is not read at all."""
    stream, redacting = EventStream(wants_usage=True), Sieve(lambda _: Redacting("lo"))
    with suppress(ValueError, RecursionError):
        told = redacting.feed(stream.feed(data) + stream.end()) + redacting.rest()
        again = Sieve(lambda _: Finding("lo"))
        again.feed(told)
        again.rest()


class Finding(Passing):
    """Fails where a word is told after all."""

    def __init__(self, word: str) -> None:
        self._word, self._said = word, ""

    def feed(self, text: str) -> str | Cut:
        self._said += text
        assert self._word not in self._said, self._said
        return text


def engine_error(data: bytes) -> None:
    """Whatever an engine says of its failure, the caller gets a problem in OpenAI's shape."""
    status = 400 + (data or b"\0")[0] % 200
    refusal = refusal_of(status, {b"retry-after": data[1:8]}, data[8:], "gemma")
    assert json.loads(msgspec.json.encode(refusal.problem))["message"]


def header(data: bytes) -> None:
    """Header values of any bytes have a meaning, or none."""
    directives_of(data)
    assert isinstance(token_of(data), str)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (front, admission, submission, config, envelope, sse, guard, engine_error, header)
}
