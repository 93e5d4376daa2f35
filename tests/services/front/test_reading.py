"""Requests in every shape HTTP/1.1 allows, and those it forbids."""

import asyncio

import pytest

from services.front.call import Call, Reply
from services.front.limits import Limits
from services.wire.fields import JSON
from tests.services.front.serving import echo, serving
from tests.support.client import connected
from tests.support.wire import chunked, request

pytestmark = pytest.mark.anyio

CHUNKED = b"POST /x HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"
LENGTH = b"POST /x HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n"  # more headers follow


async def test_a_request_is_answered_and_the_connection_is_kept() -> None:
    async with serving(echo) as it, connected(it.port) as client:
        first = await client.ask("POST", "/a?b=c", b"one")
        second = await client.ask("GET", "/d")

    assert (200, b"POST /a?b=c one") == (first.status, first.body)
    assert (200, b"GET /d ") == (second.status, second.body)
    assert "connection" not in first.headers
    assert "GMT" in first.headers["date"]


async def test_a_request_may_come_byte_by_byte() -> None:
    asked = request("POST", "/slow", b"body", {"x-a": "b"})
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(*(asked[at : at + 1] for at in range(len(asked))))

        assert b"POST /slow body" == (await client.response()).body


async def test_a_chunked_body_is_put_together() -> None:
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(CHUNKED, *chunked([b"one ", b"two"]))

        assert b"POST /x one two" == (await client.response()).body


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    asked = b"".join(request("POST", f"/{number}", b"x") for number in range(10))
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(asked)
        answers = [await client.response() for _ in range(10)]

    assert [b"POST /%d x" % number for number in range(10)] == [answer.body for answer in answers]


async def test_a_client_that_asks_for_it_is_let_go_after_its_answer() -> None:
    async with serving(echo) as it, connected(it.port) as client:
        answer = await client.ask("GET", "/", headers={"connection": "close"})

        assert "close" == answer.headers["connection"]
        assert b"" == await client.rest()


async def test_what_follows_the_last_request_is_not_answered() -> None:
    asked = request("GET", "/last", headers={"connection": "close"}) + request("GET", "/more")
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(asked)

        assert b"GET /last " == (await client.response()).body
        assert b"" == await client.rest()


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(request("GET", "/old", version="1.0"))

        assert b"GET /old " == (await client.response()).body
        assert b"" == await client.rest()


async def test_http_1_0_gets_a_stream_bare_and_ended_by_the_close() -> None:
    def stream(call: Call, reply: Reply) -> None:
        reply.start(200, JSON)
        reply.write(b"one ")
        reply.write(b"two")
        reply.finish()

    async with serving(stream) as it, connected(it.port) as client:
        await client.send(request("GET", "/old", version="1.0"))
        answer = await client.response()

    assert b"one two" == answer.body
    assert "transfer-encoding" not in answer.headers


async def test_head_gets_the_length_and_no_body() -> None:
    async with serving(echo) as it, connected(it.port) as client:
        answer = await client.ask("HEAD", "/h")
        after = await client.ask("GET", "/after")

    assert str(len(b"HEAD /h ")) == answer.headers["content-length"]
    assert b"GET /after " == after.body


async def test_head_of_a_stream_gets_no_body_either() -> None:
    def stream(call: Call, reply: Reply) -> None:
        reply.start(200, JSON)
        reply.write(b"one")
        reply.finish()

    async with serving(stream) as it, connected(it.port) as client:
        await client.ask("HEAD", "/h")

        assert b"one" == (await client.ask("GET", "/g")).body


async def test_a_client_that_waits_for_it_is_told_to_continue() -> None:
    asked = request("POST", "/e", b"body", {"expect": "100-continue"})
    head, body = asked[:-4], asked[-4:]
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(head)
        assert 100 == (await client.response()).status
        await client.send(body)

        assert b"POST /e body" == (await client.response()).body


async def test_a_client_whose_body_is_too_large_is_not_told_to_continue() -> None:
    async with serving(echo, Limits(body=10)) as it, connected(it.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 11\r\n\r\n")

        assert 413 == (await client.response()).status


BAD = {
    "no HTTP": b"hello there\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an unknown method": b"FETCH / HTTP/1.1\r\nhost: t\r\n\r\n",
    "an unknown version": b"GET / HTTP/3.7\r\nhost: t\r\n\r\n",
    "a space in a header's name": b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nx: a\rb\r\n\r\n",
    "a null": b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
    "a length that is no number": b"POST / HTTP/1.1\r\ncontent-length: ten\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    "a length beyond all bounds": b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "two lengths": LENGTH + b"content-length: 4\r\n\r\nabc",
    "the same length twice": LENGTH + b"content-length: 3\r\n\r\nabc",
    "a length and chunks": LENGTH + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": CHUNKED[:-2] + b"content-length: 3\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"zz\r\nabc\r\n",
    "a negative chunk size": CHUNKED + b"-1\r\nabc\r\n",
    "a chunk size beyond all bounds": CHUNKED + b"fffffffffffffffff\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nabc\r\n",
    "a proxy's request": b"CONNECT example:443 HTTP/1.1\r\nhost: example:443\r\n\r\n",
}


@pytest.mark.parametrize("said", BAD.values(), ids=BAD)
async def test_what_is_not_http_is_refused_once_and_the_connection_closed(said: bytes) -> None:
    asked: list[Call] = []
    async with serving(lambda call, reply: asked.append(call)) as it, connected(it.port) as client:
        await client.send(said)
        answer = await client.response()

        assert 400 == answer.status
        assert "invalid_request" == answer.error["code"]
        assert "close" == answer.headers["connection"]
        assert "false" == answer.headers["x-should-retry"]
        assert answer.headers["x-request-id"]
        assert b"" == await client.rest()
        assert [] == asked


async def test_a_folded_header_never_brings_a_line_break_along() -> None:
    seen: list[Call] = []

    def note(call: Call, reply: Reply) -> None:
        seen.append(call)
        reply.send(200, JSON, b"{}")

    async with serving(note) as it, connected(it.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: t\r\nx-folded: one\r\n two\r\n\r\n")
        answer = await client.response()

    assert answer.status in (200, 400)
    assert not any(b"\r" in value or b"\n" in value for call in seen for value in call.headers.values())


async def test_header_values_may_hold_any_bytes_and_names_any_case() -> None:
    seen: list[Call] = []

    def note(call: Call, reply: Reply) -> None:
        seen.append(call)
        reply.send(200, JSON, b"{}")

    async with serving(note) as it, connected(it.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: t\r\nX-Mixed-Case: caf\xc3\xa9 \xff\r\n\r\n")
        await client.response()

    assert b"caf\xc3\xa9 \xff" == seen[0].header(b"x-mixed-case")


@pytest.mark.parametrize("body", [None, b"body"], ids=["without a body", "with a body"])
async def test_an_upgrade_is_passed_over(body: bytes | None) -> None:
    # Java's client offers HTTP/2 with every first request.
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAAB"}
    async with serving(echo) as it, connected(it.port) as client:
        answer = await client.ask("POST", "/u", body, offer)

        assert (200, b"POST /u " + (body or b"")) == (answer.status, answer.body)
        assert b"GET /next " == (await client.ask("GET", "/next")).body


async def test_a_chunked_body_behind_an_upgrade_is_read_too() -> None:
    offer = b"connection: Upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(b"POST /u HTTP/1.1\r\nhost: t\r\n" + offer, *chunked([b"one ", b"two"]))

        assert b"POST /u one two" == (await client.response()).body


async def test_an_endpoint_that_fails_is_answered_for() -> None:
    def fail(call: Call, reply: Reply) -> None:
        raise RuntimeError("a bug, and its secrets")

    async with serving(fail) as it, connected(it.port) as client:
        answer = await client.ask("GET", "/")
        again = await client.ask("GET", "/")

    assert (500, "internal_error") == (answer.status, answer.error["code"])
    assert b"secrets" not in answer.body
    assert answer.headers["x-request-id"] != again.headers["x-request-id"]


async def test_requests_of_many_clients_do_not_mix() -> None:
    async def one(port: int, number: int) -> bytes:
        async with connected(port) as client:
            answers = [(await client.ask("POST", f"/{number}", b"x" * number)).body for _ in range(5)]
            assert 1 == len(set(answers))
            return answers[0]

    async with serving(echo) as it:
        answers = await asyncio.gather(*(one(it.port, number) for number in range(40)))

    assert [b"POST /%d " % n + b"x" * n for n in range(40)] == answers
