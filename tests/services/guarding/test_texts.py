"""What a guard leaves of an answer in one piece."""

import json
from typing import Any

import pytest

from services.guarding.guard import Text, Watch
from services.guarding.texts import sift
from tests.support.guards import REDACTED, Blocking, Keeping, Passing, Redacting
from tests.support.wire import completion, usage

WORD = "secret"


def redacts(_: Text) -> Watch:
    return Redacting(WORD)


def blocks(_: Text) -> Watch:
    return Blocking(WORD)


def answer(*choices: dict[str, Any]) -> bytes:
    return json.dumps({"id": "c1", "choices": choices, "usage": usage(7, 3)}).encode()


def chat(index: int = 0, **message: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", **message}, "finish_reason": "stop"}


@pytest.mark.parametrize("watch", [Passing, Keeping])
def test_an_answer_nothing_is_changed_of_stays_as_it_is(watch: Any) -> None:
    body = b' {"id":"x", "choices" : [{"index":0,"message":{"content":"a"},"odd":1.0e2}],\n"n":1.0e2} '
    assert (body, False) == sift(body, lambda _: watch())


@pytest.mark.parametrize("body", [b'{"data":[{"embedding":[1]}]}', b'{"choices":null}', b'{"choices":[]}'])
def test_an_answer_without_choices_stays_as_it_is(body: bytes) -> None:
    assert (body, False) == sift(body, blocks)


def test_every_text_of_every_choice_is_read() -> None:
    called = [
        {"id": "secret", "type": "function", "function": {"name": "secret", "arguments": '{"a":"secret"}'}}
    ]
    body = answer(
        chat(content="a secret", reasoning_content="secret b"),
        chat(1, content=None, refusal="no secret", tool_calls=called),
        {"index": 2, "text": "secrets", "finish_reason": "length", "logprobs": {"tokens": [WORD]}},
    )
    changed, cut = sift(body, redacts)
    told = json.loads(changed)

    assert not cut
    assert usage(7, 3) == told["usage"]
    first, second, third = told["choices"]
    assert (f"a {REDACTED}", f"{REDACTED} b") == (
        first["message"]["content"],
        first["message"]["reasoning_content"],
    )
    function = second["message"]["tool_calls"][0]["function"]
    assert ("secret", f'{{"a":"{REDACTED}"}}') == (function["name"], function["arguments"])
    assert (f"no {REDACTED}", None) == (second["message"]["refusal"], second["message"]["content"])
    assert (f"{REDACTED}s", None, "length") == (third["text"], third["logprobs"], third["finish_reason"])


def test_a_choice_that_is_cut_ends_there_and_calls_nothing() -> None:
    called = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    body = answer(chat(content="a secret b", more="c", tool_calls=called), chat(1, content="fine"))
    changed, cut = sift(body, blocks)
    first, second = json.loads(changed)["choices"]

    assert cut
    assert "content_filter" == first["finish_reason"]
    assert {"role": "assistant", "content": "a ", "more": ""} == first["message"]
    assert chat(1, content="fine") == second


def test_what_is_held_at_the_end_is_told() -> None:
    assert (completion("no sec"), False) == sift(completion("no sec"), redacts)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"choices":[{"message":"secret"}]}', b'{"choices":' + b"[" * 9999]
)
def test_what_cannot_be_read_does_not_pass(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        sift(body, redacts)
