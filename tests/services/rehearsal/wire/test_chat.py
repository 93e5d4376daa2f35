from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.rehearsal.asked.chat import ChatRequest
from services.rehearsal.asked.checks import Served, StreamOptions
from services.rehearsal.said.draft import Choice, Draft, text_of, tokens_of
from services.rehearsal.said.draft import drafted as draft_of
from services.rehearsal.wire.chat import writer as writer_of
from services.rehearsal.wire.heads import DONE
from services.rehearsal.wire.stream import Writer

SERVED = Served(model='a "quoted" model', context=1000, created=5)
TEXTS = ("One two.", 'He said "three"\nand 😀.')


def drafted(*texts: str) -> Draft:
    choices = [Choice(tokens=tuple(tokens_of(text)), finish="stop") for text in texts]
    return draft_of(choices, prompt_tokens=12, cached_tokens=4)


def writer(draft: Draft, *, wants_usage: bool = False) -> Writer:
    options = StreamOptions(include_usage=wants_usage)
    request = ChatRequest(model=SERVED.model, messages=[], stream_options=options)
    return writer_of(request, draft, SERVED, id="chatcmpl-1", created=99)


def events(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n\n")
    return [msgspec.json.decode(event.removeprefix(b"data: ")) for event in data[:-2].split(b"\n\n")]


USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 4,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 4},
}


def test_a_whole_answer() -> None:
    draft = drafted("One two.")
    assert {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 99,
        "model": SERVED.model,
        "system_fingerprint": "rehearsal",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "One two.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {**USAGE, "completion_tokens": draft.total, "total_tokens": 12 + draft.total},
    } == msgspec.json.decode(writer(draft).whole())


def test_a_stream_is_a_role_then_an_event_a_token_then_the_finish() -> None:
    draft = drafted("One two.")
    told = writer(draft)
    first, *tokens = events(told.tokens(0, draft.total))
    assert {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 99,
        "model": SERVED.model,
        "system_fingerprint": "rehearsal",
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
    } == first
    assert ["One", " two", "."] == [event["choices"][0]["delta"]["content"] for event in tokens]
    finish, end = told.ending().removesuffix(b"\n\n").split(b"\n\n")
    last = msgspec.json.decode(finish.removeprefix(b"data: "))["choices"]
    assert [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}] == last
    assert DONE.strip() == end


def test_usage_is_told_once_and_only_to_who_asks() -> None:
    draft = drafted("One two.")
    told = writer(draft, wants_usage=True)
    stream = told.tokens(0, draft.total) + told.ending().removesuffix(DONE)
    *others, last = events(stream)
    assert all(event["usage"] is None and event["choices"] for event in others)
    assert ([], draft.total) == (last["choices"], last["usage"]["completion_tokens"])
    untold = writer(draft)
    assert b"usage" not in untold.tokens(0, draft.total) + untold.ending()


def test_choices_take_turns_each_with_its_role_and_finish() -> None:
    draft = drafted("One two.", "Three")
    told = writer(draft)
    seen = [
        (choice["index"], choice["delta"], choice["finish_reason"])
        for event in events(told.tokens(0, draft.total) + told.ending().removesuffix(DONE))
        for choice in event["choices"]
    ]
    role = {"role": "assistant", "content": ""}
    assert [
        (0, role, None),
        (0, {"content": "One"}, None),
        (1, role, None),
        (1, {"content": "Thre"}, None),
        (0, {"content": " two"}, None),
        (1, {"content": "e"}, None),
        (1, {}, "stop"),
        (0, {"content": "."}, None),
        (0, {}, "stop"),
    ] == seen


@given(st.lists(st.integers(0, 30)))
def test_it_does_not_matter_where_a_stream_is_cut(cuts: list[int]) -> None:
    draft = drafted(*TEXTS)
    told = writer(draft)
    edges = [0, *sorted(min(cut, draft.total) for cut in cuts), draft.total]
    pieces = [told.tokens(start, end) for start, end in pairwise(edges)]
    assert writer(draft).tokens(0, draft.total) == b"".join(pieces)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_streamed_and_whole_say_the_same(text: str) -> None:
    draft = drafted(text)
    told = writer(draft)
    deltas = [event["choices"][0]["delta"]["content"] for event in events(told.tokens(0, draft.total))]
    assert text == "".join(deltas) == msgspec.json.decode(told.whole())["choices"][0]["message"]["content"]
    assert text == text_of(draft.choices[0].tokens)


def test_an_empty_answer_is_one_empty_token() -> None:
    draft = Draft(choices=[Choice(tokens=(b"",), finish="stop")], total=1, prompt_tokens=1)
    assert ["", ""] == [e["choices"][0]["delta"]["content"] for e in events(writer(draft).tokens(0, 1))]
