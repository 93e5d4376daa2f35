"""A streamed answer as it comes: what is passed on, and what it tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.words import Usage
from services.pool.sse import MAX_EVENT
from services.pool.stream import EventStream
from tests.support.wire import DONE, delta, event, usage_event

STREAM = delta("") + delta("a") + delta("b") + usage_event(3, 2) + DONE
ERROR = event({"error": {"message": "CUDA out of memory"}})


@pytest.mark.parametrize("wants_usage", [True, False])
@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_a_stream_in_any_pieces(size: int, wants_usage: bool) -> None:
    stream = EventStream(wants_usage=wants_usage)
    passed_on = b"".join(stream.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size))

    assert passed_on == (STREAM if wants_usage else STREAM.replace(usage_event(3, 2), b""))
    assert (Usage(input=3, output=2), True, False) == (stream.usage, stream.done, stream.failed)
    assert 0 == stream.unfinished


def test_tokens_are_counted_by_events_once_there_is_an_answer() -> None:
    stream = EventStream(wants_usage=False)
    counts = []
    for piece in (b": hello\n\n", delta(""), delta("a"), delta("b") + delta("c"), DONE):
        stream.feed(piece)
        counts.append(stream.tokens)

    assert [0, 0, 1, 3, 3] == counts


def test_an_answer_that_begins_with_its_first_event_is_counted_from_there() -> None:
    stream = EventStream(wants_usage=False)
    stream.feed(b": hello\n\n" + delta("a") + delta("b"))

    assert 2 == stream.tokens


def test_what_is_not_whole_is_known_by_its_size() -> None:
    stream = EventStream(wants_usage=False)
    stream.feed(delta("a") + b"data: {")

    assert len(b"data: {") == stream.unfinished


def test_the_end_may_lack_its_blank_line() -> None:
    stream = EventStream(wants_usage=False)
    stream.feed(delta("a") + DONE.strip())

    assert (DONE, True) == (stream.end(), stream.done)


def test_a_stream_that_breaks_off_has_no_end() -> None:
    stream = EventStream(wants_usage=False)
    stream.feed(delta("a") + b"data: {")

    assert (b"", False) == (stream.end(), stream.done)


def test_an_error_is_not_passed_on_nor_what_is_behind_it() -> None:
    stream = EventStream(wants_usage=False)

    assert delta("a") == stream.feed(delta("a") + ERROR + DONE)
    assert (True, False) == (stream.failed, stream.done)


UNREADABLE = {
    "no JSON": b"data: {oops\n\n",
    "no object": b"data: 5\n\n",
    "cut short": delta("b")[:40] + b"\n\n",
    "two in a line": delta("b").strip() + delta("c")[6:],
    "two in an event": delta("b")[:-1] + delta("c"),
    "too deep": b'data: {"a":' + b"[" * 5000 + b"]" * 5000 + b"}\n\n",
}


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE)
def test_an_event_that_cannot_be_read_is_not_passed_on_nor_what_is_behind_it(bad: bytes) -> None:
    stream = EventStream(wants_usage=False)

    assert delta("a") == stream.feed(delta("a") + bad + DONE)
    assert (True, False) == (stream.failed, stream.done)


READABLE = {
    "fields behind the data": delta("a")[:-1] + b"id: 7\n\n",
    "over two lines": delta("a").replace(b", ", b",\ndata: ", 1),
    "without a blank": delta("a").replace(b"data: ", b"data:"),
    "with CR": delta("a").replace(b"\n", b"\r"),
    "no data": b"event: ping\n\n" + delta("a"),
    "empty data": b"data:\n\n" + delta("a"),
}


@pytest.mark.parametrize("good", READABLE.values(), ids=READABLE)
def test_an_event_may_be_written_in_any_way_there_is(good: bytes) -> None:
    stream = EventStream(wants_usage=False)

    assert good == stream.feed(good)
    assert (True, False) == (stream.begun, stream.failed)


def test_usage_is_found_beside_other_fields() -> None:
    stream = EventStream(wants_usage=False)
    stream.feed(usage_event(3, 2)[:-1] + b"id: 7\n\n")

    assert Usage(input=3, output=2) == stream.usage


def test_a_byte_order_mark_is_not_passed_on() -> None:
    stream = EventStream(wants_usage=False)

    assert delta("a") == stream.feed(b"\xef\xbb\xbf" + delta("a"))


def test_an_end_alone_is_no_answer() -> None:
    stream = EventStream(wants_usage=False)
    stream.feed(b": hello\n\n" + DONE)

    assert (False, False) == (stream.begun, stream.done)


def test_an_answer_may_be_empty() -> None:
    stream = EventStream(wants_usage=False)
    stream.feed(delta("") + DONE)

    assert (True, True) == (stream.begun, stream.done)


def test_an_answer_that_does_not_begin_is_given_up() -> None:
    stream = EventStream(wants_usage=False)
    comment = b":%b\n\n" % (b"x" * 2**20)
    with pytest.raises(ValueError, match="no answer begins"):
        for _ in range(MAX_EVENT // len(comment) + 2):
            stream.feed(comment)


def test_an_event_without_end_is_given_up() -> None:
    stream = EventStream(wants_usage=False)
    with pytest.raises(ValueError, match="longer than"):
        stream.feed(b"x" * (MAX_EVENT + 1))


SAID = (
    delta("a"), delta("an error in words"), delta('"usage": {}'), delta("[DONE]"), delta("\\n"), ERROR, DONE,
    usage_event(3, 2), b": hello\n\n", event({"usage": None}),
    b"data: {\n\n", b"data: {}\n\n", b"data: {} {}\n\n",
    b"data: {}\ndata: {}\n\n", b"data: {}\r\n\r\n", b"data: {\xff}\n\n", b"\n\n",
)  # fmt: skip


@given(st.lists(st.sampled_from(SAID), max_size=6))
def test_event_by_event_or_byte_by_byte_is_the_same(said: list[bytes]) -> None:
    told = []
    for pieces in (said, [bytes([byte]) for byte in b"".join(said)]):
        stream = EventStream(wants_usage=False)
        stream.feed(delta("begins"))
        passed_on = b""
        for piece in pieces:
            passed_on += stream.feed(piece)
            if stream.failed:
                break
        told.append((passed_on, stream.tokens, stream.usage, stream.done, stream.failed))

    assert told[0] == told[1]
