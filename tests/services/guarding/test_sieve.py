"""What comes out of a stream on its way through a guard."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.guarding.guard import Cut, Text, Watch
from services.guarding.sieve import Sieve
from tests.support.guards import REDACTED, Blocking, Failing, Keeping, Passing, Redacting
from tests.support.wire import DONE, delta, event, events_of, usage_event

WORD = "secret"
SAID = f"It is no {WORD}: é{WORD}é, {WORD[:3]} and {WORD}"
CLEAN = SAID.replace(WORD, REDACTED)


def redacts() -> Watch:
    return Redacting(WORD, "sesame")


def blocks() -> Watch:
    return Blocking(WORD)


def through(watch: Callable[[], Watch], *pieces: bytes) -> bytes:
    """All that comes out."""
    sieve = Sieve(lambda _: watch())
    out = b"".join(map(sieve.feed, pieces))
    assert sieve.over
    assert 0 == sieve.held
    return out


def choice(index: int = 0, finish: str | None = None, **told: Any) -> dict[str, Any]:
    return {"index": index, "delta": told, "finish_reason": finish}


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    return event({"id": "c1", "model": "gemma", "choices": choices, **more})


def told(stream: bytes, *path: Any, index: int = 0) -> str:
    """A text of a choice as its reader puts it together."""
    pieces = []
    for one in events_of(stream):
        for found in one.get("choices", ()) if isinstance(one, dict) else ():
            inner: Any = found if found["index"] == index else {}
            for step in path:
                inner = inner.get(step) if isinstance(inner, dict) else inner[step] if inner else None
            pieces.append(inner or "")
    return "".join(pieces)


def ends(stream: bytes) -> list[tuple[int, str]]:
    """The choices that are told to be over, and why."""
    found = [
        one for event in events_of(stream) if isinstance(event, dict) for one in event.get("choices", ())
    ]
    return [(one["index"], one["finish_reason"]) for one in found if one["finish_reason"]]


def pieces_of(text: str, cuts: Sequence[int]) -> list[str]:
    bounds = [0, *sorted(set(cuts)), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


HELLO = chunk(choice(role="assistant", content=""))
STOP = chunk(choice(finish="stop"))


@pytest.mark.parametrize("at", range(len(SAID) + 1))
def test_a_word_is_found_wherever_it_is_cut(at: int) -> None:
    stream = [HELLO, *(delta(piece) for piece in pieces_of(SAID, [at])), STOP, DONE]
    out = through(redacts, *stream)

    assert CLEAN == told(out, "delta", "content")
    assert [(0, "stop")] == ends(out)
    assert out.endswith(STOP + DONE)


@given(st.lists(st.integers(0, len(SAID))), st.booleans(), st.booleans())
def test_a_word_is_found_in_any_pieces_and_events_in_any_bundles(
    cuts: list[int], together: bool, crlf: bool
) -> None:
    events = [HELLO, *map(delta, pieces_of(SAID, cuts)), STOP, usage_event(7, 3), DONE]
    if crlf:
        events = [one.replace(b"\n", b"\r\n") for one in events]
    out = through(redacts, *([b"".join(events)] if together else events))
    out = out.replace(b"\r\n", b"\n")

    assert CLEAN == told(out, "delta", "content")
    assert out.endswith(STOP + usage_event(7, 3) + DONE)


@given(st.lists(st.integers(0, len(SAID))))
def test_nothing_behind_a_cut_and_nothing_of_the_word_comes_out(cuts: list[int]) -> None:
    events = [HELLO, *map(delta, pieces_of(SAID, cuts)), STOP, usage_event(7, 3), DONE]
    out = through(blocks, *events)

    assert "It is no " == told(out, "delta", "content")
    assert [(0, "content_filter")] == ends(out)
    assert "[DONE]" == events_of(out)[-1]


EVENTS = {
    "a comment": b": wait\n\n",
    "a text": delta("Hello"),
    "odd white space": b'data:{ "choices" :[{"index":0,"delta":{"content":"\\u0041"},"x":1.0e2}]}\n\n',
    "a name": b'event: chunk\nid: 7\ndata: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n',
    "no choice": b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
    "no choices": b'data: {"object":"ping"}\n\n',
    "probabilities": chunk(choice(content="a") | {"logprobs": {"content": [{"token": "a"}]}}),
    "a call": chunk(choice(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}])),
    "an argument": chunk(choice(tool_calls=[{"index": 0, "function": {"arguments": '{"a":1}'}}])),
    "several choices": chunk(choice(0, content="a"), choice(1, content="b")),
    "usage beside a text": delta("x", usage={"prompt_tokens": 1}),
}


@given(st.lists(st.sampled_from(list(EVENTS.values()))), st.booleans())
def test_what_is_not_changed_comes_out_as_it_went_in(events: list[bytes], crlf: bool) -> None:
    stream = [*events, STOP, usage_event(7, 3), DONE]
    if crlf:
        stream = [one.replace(b"\n", b"\r\n") for one in stream]

    assert b"".join(stream) == through(Passing, *stream)
    assert b"".join(stream) == through(Passing, b"".join(stream))


def test_what_is_held_back_comes_before_the_end() -> None:
    out = through(Keeping, HELLO, delta("Hel"), delta("lo."), STOP, usage_event(7, 3), DONE)

    assert [HELLO, STOP, usage_event(7, 3), DONE] == [
        part + b"\n\n" for part in out.split(b"\n\n")[:-1] if b"Hello." not in part
    ]
    assert "Hello." == events_of(out)[1]["choices"][0]["delta"]["content"]
    assert "usage" not in events_of(out)[1]


def test_nothing_comes_out_before_something_may_be_read() -> None:
    sieve = Sieve(lambda _: Keeping())

    assert b"" == sieve.feed(HELLO + b": wait\n\n" + delta("Hel", usage={"prompt_tokens": 1}))
    assert len(HELLO + b": wait\n\n" + b"Hel") == sieve.held
    assert b"" == sieve.feed(STOP + usage_event(7, 3))
    assert sieve.feed(DONE).startswith(HELLO + b": wait\n\n")
    assert 0 == sieve.held


def test_a_first_event_that_also_says_something_still_tells_who_speaks() -> None:
    out = through(redacts, chunk(choice(role="assistant", content="sec")), delta("ret!"), DONE)

    assert {"role": "assistant", "content": ""} == events_of(out)[0]["choices"][0]["delta"]
    assert f"{REDACTED}!" == told(out, "delta", "content")


def test_a_choice_may_go_on_behind_its_end() -> None:
    events = [chunk(choice(content=piece, finish="stop")) for piece in ("It is ", "sec", "ret", ".")]
    out = through(redacts, *events, usage_event(7, 3), DONE)

    assert f"It is {REDACTED}." == told(out, "delta", "content")
    assert "stop" == ends(out)[-1][1]
    assert b"".join((*events, DONE)) == through(Passing, *events, DONE)


def test_choices_are_texts_of_their_own() -> None:
    events = [chunk(choice(index, content=piece)) for piece in ("a sec", "ret b") for index in (0, 1, 2)]
    out = through(redacts, *events, *(chunk(choice(index, finish="stop")) for index in (1, 0, 2)), DONE)

    assert [f"a {REDACTED} b"] * 3 == [told(out, "delta", "content", index=index) for index in range(3)]
    assert [(1, "stop"), (0, "stop"), (2, "stop")] == ends(out)


def test_pieces_of_several_choices_in_one_event() -> None:
    events = [chunk(*(choice(index, content=piece) for index in (0, 1))) for piece in ("sec", "ret", "x")]
    out = through(redacts, *events, chunk(choice(0, "length"), choice(1, "stop")), DONE)

    assert [f"{REDACTED}x"] * 2 == [told(out, "delta", "content", index=index) for index in (0, 1)]
    assert [(0, "length"), (1, "stop")] == ends(out)


def test_a_cut_ends_every_choice_that_is_not_over() -> None:
    events = [chunk(choice(0, content="a")), chunk(choice(1, content="b")), chunk(choice(0, "stop"))]
    out = through(blocks, *events, chunk(choice(1, content=WORD)), DONE)

    assert {(0, "content_filter"), (1, "content_filter")} == set(ends(out))
    assert ("a", "b") == tuple(told(out, "delta", "content", index=index) for index in (0, 1))


def test_a_cut_in_the_first_event_is_a_whole_stream() -> None:
    out = through(blocks, HELLO, delta(WORD), delta("more"), STOP, DONE)

    assert out.startswith(HELLO)
    assert [(0, "content_filter")] == ends(out)
    assert out.endswith(DONE)
    assert "" == told(out, "delta", "content")


class CutsAtTheEnd(Keeping):
    def finish(self) -> str | Cut:
        return Cut(released="so far")


def test_a_cut_at_the_end_takes_the_ends_place_and_keeps_the_usage() -> None:
    out = through(CutsAtTheEnd, HELLO, delta("all"), STOP, usage_event(7, 3), DONE)

    assert "so far" == told(out, "delta", "content")
    assert [(0, "content_filter")] == ends(out)
    assert out.endswith(usage_event(7, 3) + DONE)


@pytest.mark.parametrize("name", ["content", "reasoning_content", "reasoning", "refusal", "new_name"])
def test_every_string_of_a_delta_is_a_text_of_its_own(name: str) -> None:
    heard: list[Text] = []

    def watching(text: Text) -> Watch:
        heard.append(text)
        return redacts()

    sieve = Sieve(watching)
    events = [chunk(choice(**{name: piece, "other": "sec"})) for piece in ("a sec", "ret")]
    out = b"".join(map(sieve.feed, [*events, STOP, DONE]))

    assert f"a {REDACTED}" == told(out, "delta", name)
    assert "secsec" == told(out, "delta", "other")
    assert [Text(choice=0, name=name), Text(choice=0, name="other")] == heard


def call(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    named = {"id": f"call_{name}", "type": "function"} if name else {}
    return {"index": index, **named, "function": {"arguments": arguments} | ({"name": name} if name else {})}


def test_arguments_of_calls_are_texts_however_they_are_interleaved() -> None:
    heard: list[str] = []

    def watching(text: Text) -> Watch:
        heard.append(text.name)
        return redacts()

    sieve = Sieve(watching)
    events = [
        chunk(choice(tool_calls=[call(0, "", "secret"), call(1, '{"a":"s', "b")])),
        chunk(choice(tool_calls=[call(1, "ecre"), call(0, '{"c":"sec')])),
        chunk(choice(tool_calls=[call(0, 'ret"}')])),
        chunk(choice(tool_calls=[call(1, 't"}')])),
        chunk(choice(finish="tool_calls")),
    ]
    out = b"".join(map(sieve.feed, [*events, DONE]))
    found: dict[int, str] = {}
    for one in events_of(out)[:-1]:
        for part in one["choices"][0]["delta"].get("tool_calls", ()):
            found[part["index"]] = found.get(part["index"], "") + part["function"]["arguments"]

    assert {0: f'{{"c":"{REDACTED}"}}', 1: f'{{"a":"{REDACTED}"}}'} == found
    assert {"tool_calls.0.function.arguments", "tool_calls.1.function.arguments"} == set(heard)
    assert "secret" == events_of(out)[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"]


def test_a_call_held_back_comes_at_the_end_under_its_number() -> None:
    out = through(Keeping, chunk(choice(tool_calls=[call(1, '{"a":1}', "f")])), STOP, DONE)
    first, second = (one["choices"][0]["delta"]["tool_calls"] for one in events_of(out)[:2])

    assert [call(1, "", "f")] == first
    assert [{"index": 1, "function": {"arguments": '{"a":1}'}}] == second


def test_completions_have_texts_and_ends_of_their_own() -> None:
    def said(text: str, finish: str | None = None) -> bytes:
        more = {"logprobs": None, "finish_reason": finish}
        return event({"object": "text_completion", "choices": [{"index": 0, "text": text, **more}]})

    out = through(redacts, said("a sec"), said("ret b sec"), said("", "length"), DONE)
    assert f"a {REDACTED} b sec" == told(out, "text")
    assert [(0, "length")] == ends(out)

    out = through(blocks, said("a sec"), said("ret b"), said("", "length"), DONE)
    assert "a " == told(out, "text")
    last = events_of(out)[-2]
    assert ("text_completion", [{"index": 0, "text": "", "finish_reason": "content_filter"}]) == (
        last["object"],
        last["choices"],
    )


def test_what_tells_a_changed_text_again_is_left_out() -> None:
    copies = {"logprobs": {"content": [{"token": WORD}]}, "token_ids": [7], "raw": WORD}
    out = through(redacts, chunk(choice(content=f"{WORD}!") | copies), delta("x", timings=WORD), STOP, DONE)

    assert WORD not in json.dumps(events_of(out)[0])
    assert events_of(out)[0]["choices"][0]["logprobs"] is None
    assert WORD == events_of(out)[1]["timings"]  # nothing was changed there


def test_a_changed_event_keeps_the_rest_of_it() -> None:
    said = b'{"n":1.0e2,"choices":[{"index":0,"delta":{"content":"secret"}}]}'
    given = b"event: chunk\r\nid: 7\r\ndata: %b\r\n\r\n" % said
    out = through(redacts, given, DONE)

    assert out.startswith(b"event: chunk\nid: 7\ndata: ")
    assert b'"n":1.0e2' in out


BROKEN = {
    "choices that are no list": b'data: {"choices":{"a":1}}\n\n',
    "a choice that is no object": b'data: {"choices":[1]}\n\n',
    "a delta that is a text": b'data: {"choices":[{"index":0,"delta":"secret"}]}\n\n',
    "a text that is an object": b'data: {"choices":[{"index":0,"text":{"a":"secret"}}]}\n\n',
    "an index that is a text": b'data: {"choices":[{"index":"0","delta":{"content":"a"}}]}\n\n',
    "half a character": b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n',
    "no JSON": b"data: secret\n\n",
    "a deep nest": b'data: {"choices":[{"index":0,"delta":' + b'{"a":' * 5000 + b"1" + b"}" * 5003 + b"\n\n",
}


@pytest.mark.parametrize("given", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_does_not_pass(given: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        Sieve(lambda _: Passing()).feed(given)


def test_parts_in_a_list_are_texts_too() -> None:
    parts = [{"type": "text", "text": "a secret"}, "secret"]
    out = through(redacts, chunk(choice(content=parts)), STOP, DONE)
    found = events_of(out)[0]["choices"][0]["delta"]["content"]

    assert [{"type": "text", "text": f"a {REDACTED}"}, REDACTED] == found


def test_what_may_be_read_of_a_stream_that_broke_off() -> None:
    sieve = Sieve(lambda _: redacts())
    sieve.feed(delta("a sec"))

    assert "sec" == told(sieve.rest(), "delta", "content")
    assert b"" == sieve.rest() == sieve.feed(delta("more"))


def test_a_text_nobody_watches_passes() -> None:
    sieve = Sieve(lambda text: redacts() if text.name == "content" else None)
    given = chunk(choice(reasoning_content=WORD))

    assert given == sieve.feed(given)


class Odd(Passing):
    def feed(self, text: str) -> str | Cut:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize("watch", [Failing, Odd])
def test_a_watch_that_fails_is_heard_of(watch: Callable[[], Watch]) -> None:
    with pytest.raises((RuntimeError, TypeError)):
        Sieve(lambda _: watch()).feed(delta("a"))


@given(st.text(alphabet="secrta ", max_size=60), st.lists(st.integers(0, 60)))
def test_any_text_in_any_pieces(text: str, cuts: list[int]) -> None:
    pieces = pieces_of(text, [min(at, len(text)) for at in cuts])
    out = through(lambda: Redacting(WORD), *map(delta, pieces), STOP, DONE)

    assert text.replace(WORD, REDACTED) == told(out, "delta", "content")
