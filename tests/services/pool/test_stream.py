"""A streamed answer as it comes: what is passed on, and what it tells."""

import pytest

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


def test_tokens_are_counted_by_events_but_for_the_first() -> None:
    stream = EventStream(wants_usage=False)
    counts = []
    for piece in (b": hello\n\n", delta(""), delta("a"), delta("b") + delta("c")):
        stream.feed(piece)
        counts.append(stream.tokens)

    assert [0, 0, 1, 3] == counts


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


def test_an_event_without_end_is_given_up() -> None:
    stream = EventStream(wants_usage=False)
    with pytest.raises(ValueError, match="longer than"):
        stream.feed(b"x" * (MAX_EVENT + 1))
