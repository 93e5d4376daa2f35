"""Server-sent events out of arbitrary pieces, and the usage they tell."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.words import Usage
from services.pool.sse import (
    MAX_EVENT,
    EventBuffer,
    estimate_output,
    read_answer,
    says_done,
    split,
    take_usage,
)
from tests.support.wire import DONE, completion, delta, event, usage, usage_event

STREAM = [delta("Hel"), b": a comment\n\n", delta("lo\n\nthere"), usage_event(3, 2), DONE]
ENDS = {"LF": b"\n", "CRLF": b"\r\n"}


def with_ends(stream: bytes, end: bytes) -> bytes:
    return stream.replace(b"\n", end)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@given(cuts=st.lists(st.integers(0, len(b"".join(STREAM)) + 20)))
def test_however_a_stream_is_cut_its_events_come_whole_and_unchanged(end: bytes, cuts: list[int]) -> None:
    stream = with_ends(b"".join(STREAM), end)
    places = [0, *sorted(cuts), len(stream)]
    buffer = EventBuffer()
    fed = [buffer.feed(stream[a:b]) for a, b in pairwise(places)]

    assert stream == b"".join(fed)
    assert b"" == buffer.rest
    assert all(not piece or piece.endswith(end * 2) for piece in fed)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_byte_by_byte_every_event_comes_as_soon_as_it_is_whole(end: bytes) -> None:
    events = [with_ends(one, end) for one in STREAM]
    buffer = EventBuffer()
    fed = [buffer.feed(bytes((byte,))) for byte in b"".join(events)]

    assert events == [piece for piece in fed if piece]


def test_an_unfinished_event_is_kept_back() -> None:
    buffer = EventBuffer()

    assert delta("a") == buffer.feed(delta("a") + b"data: {")
    assert b"data: {" == buffer.rest


def test_an_event_without_end_is_given_up() -> None:
    buffer = EventBuffer()
    with pytest.raises(ValueError, match="longer than"):
        buffer.feed(b"x" * (MAX_EVENT + 1))


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_events_are_split_at_their_blank_lines(end: bytes) -> None:
    events = [with_ends(one, end) for one in STREAM]

    assert events == split(b"".join(events))
    assert [] == split(b"")


def test_events_that_end_otherwise_than_others_are_split_too() -> None:
    # A proxy's comments between an engine's events.
    events = [delta("a"), b": ping\r\n\r\n", usage_event(3, 2), b": ping\r\r", DONE]

    assert events == split(b"".join(events))
    assert Usage(input=3, output=2) == take_usage(b"".join(events), keep=True)[1]


TOLD = {
    "its own event": usage_event(3, 2),
    "without spaces": b'data:{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    "with many spaces": b'data:  { "choices": [ ] , "usage":{"prompt_tokens":3,"completion_tokens":2} } \n\n',
    "no choices at all": b'data: {"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    "null choices": b'data: {"choices":null,"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    "CRLF": with_ends(usage_event(3, 2), b"\r\n"),
    "a named event": b"event: chunk\n" + usage_event(3, 2),
}


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
def test_an_event_that_tells_the_usage_alone_is_taken_out_unless_wanted(told: bytes) -> None:
    assert (b"", Usage(input=3, output=2)) == take_usage(told, keep=False)
    assert (told, Usage(input=3, output=2)) == take_usage(told, keep=True)


def test_only_the_usage_event_is_taken_out_of_many() -> None:
    assert (delta("a") + DONE, Usage(input=3, output=2)) == take_usage(
        delta("a") + usage_event(3, 2) + DONE, keep=False
    )


def test_usage_beside_the_last_words_is_read_and_the_words_stay() -> None:
    last = delta("bye", usage=usage(3, 2))

    assert (last, Usage(input=3, output=2)) == take_usage(last, keep=False)


def test_usage_that_is_null_in_every_event_says_nothing() -> None:
    events = delta("a", usage=None) + delta("b", usage=None)

    assert (events, None) == take_usage(events, keep=False)


def test_of_several_usages_the_last_holds() -> None:
    events = delta("a", usage=usage(3, 1)) + delta("b", usage=usage(3, 2))

    assert Usage(input=3, output=2) == take_usage(events, keep=False)[1]


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"usage": "much"}\n\n',
        b'data: {"usage": {"prompt_tokens": "x"}}\n\n',
        b'data: {"usage": {"prompt_tokens": 3.5}}\n\n',
        b'data: {"usage": {"prompt_tokens": -1}}\n\n',
        b'data: {"usage": {"prompt_tokens": 3, "completion_tokens": 1%b}}\n\n' % (b"0" * 30),
        b'data: {"usage": \n\n',
        b'data: "usage"\n\n',
        b': "usage"\n\n',
        b'data: {"usage":' + b"[" * 5000 + b"\n\n",
        b'data: {"x":' + b"[" * 5000 + b', "usage": 1\n\n',
    ],
)
def test_usage_that_cannot_be_read_passes_as_it_is(broken: bytes) -> None:
    assert (broken, None) == take_usage(broken, keep=False)


def test_words_about_usage_are_no_usage() -> None:
    events = delta('The field "usage" is an object: {"usage": {"prompt_tokens": 9}}')

    assert (events, None) == take_usage(events, keep=False)


def test_details_are_read_where_an_engine_tells_them() -> None:
    told = usage(30, 20) | {
        "prompt_tokens_details": {"cached_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }

    assert Usage(input=30, output=20, cached=10, reasoning=5) == read_answer(completion(usage=told))


def test_a_part_is_never_larger_than_its_whole() -> None:
    told = usage(3, 2) | {
        "prompt_tokens_details": {"cached_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 10},
    }

    assert Usage(input=3, output=2, cached=3, reasoning=2) == read_answer(completion(usage=told))


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}])
def test_details_may_be_missing(details: object) -> None:
    told = usage(3, 2) | {"prompt_tokens_details": details, "completion_tokens_details": details}

    assert Usage(input=3, output=2) == read_answer(completion(usage=told))


BEYOND = [-1, 2**40 + 1, 2**63, 10**30]


@pytest.mark.parametrize(
    "told",
    [
        *(None, "much", 5, [], {}, {"prompt_tokens": "x"}, {"completion_tokens": 1}),
        *({"prompt_tokens": number, "completion_tokens": 1} for number in BEYOND),
        *({"prompt_tokens": 1, "completion_tokens": number} for number in BEYOND),
        *(usage(1, 1) | {"prompt_tokens_details": {"cached_tokens": number}} for number in BEYOND),
        *(usage(1, 1) | {"completion_tokens_details": {"reasoning_tokens": number}} for number in BEYOND),
    ],
    ids=str,
)
def test_an_answer_whose_usage_cannot_be_read_is_an_answer_all_the_same(told: object) -> None:
    assert read_answer(completion(usage=told)) is None


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"[1]", b'"text"', b"null", b'{"a":'),
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"usage": 5, "a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_is_no_object_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_answer(body)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_end_of_a_stream_is_recognised(end: bytes) -> None:
    assert says_done(with_ends(DONE, end))
    assert says_done(with_ends(delta("a") + DONE, end))
    assert says_done(b"data:[DONE]\n\n")


def test_words_about_the_end_are_not_the_end() -> None:
    assert not says_done(delta("a stream ends with data: [DONE]"))
    assert not says_done(event("data: [DONE]"))
    assert not says_done(b": data: [DONE]\n\n")


def answer(*messages: object) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message} for message in messages]}).encode()


CALLS = [{"id": "1", "function": {"name": "look", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (answer({"role": "assistant", "content": "x" * 40}), 10),
        (answer({"content": "é" * 20}), 30),  # as json.dumps writes it: six bytes each
        (answer({"content": "x" * 20}, {"content": "y" * 20}), 10),
        (answer({"content": "x" * 20, "reasoning_content": "y" * 20, "refusal": None}), 10),
        (answer({"content": None, "tool_calls": CALLS}), len(json.dumps(CALLS)) // 4),
        (answer({"content": ""}), 0),
        (answer(), 0),
        (b"x" * 40, 10),
        (b'{"choices": "something else"}', 7),
        (json.dumps({"choices": [{"text": "x" * 40}, {"text": "y" * 20}]}).encode(), 15),
        (json.dumps({"data": [{"object": "embedding", "embedding": [0.5] * 40}]}).encode(), 0),
        (b'{"data": [{"object": "image", "url": "x"}]}', 10),
        (b'{"choices":' + b"[" * 5000, 1252),
    ],
    ids=[
        "text",
        "escapes",
        "choices",
        "thoughts",
        "calls",
        "nothing",
        "none",
        "no JSON",
        "words",
        "text completion",
        "embeddings",
        "data of another kind",
        "depth",
    ],
)
def test_what_an_answer_has_of_tokens_is_estimated_from_what_it_says(body: bytes, tokens: int) -> None:
    assert tokens == estimate_output(body)
