from typing import Any

import msgspec
import pytest

from events.words import Refusal
from functions.request.admission import ChatMessage, estimate_input
from services.rehearsal.asked.chat import ChatRequest, draft, read
from services.rehearsal.asked.checks import Served
from services.rehearsal.asked.messages import said_last
from services.rehearsal.said.draft import Draft, text_of
from services.rehearsal.said.prose import NOTICE

SERVED = Served(model="gemma-3-4b-it", context=1000)


def asked(content: object = "Why?", **fields: object) -> bytes:
    message = {"role": "user", "content": content}
    return msgspec.json.encode({"model": "gemma-3-4b-it", "messages": [message], **fields})


def drafted(content: object = "Why?", seed: int = 0, cached_messages: int = 0, **fields: object) -> Draft:
    request = read(asked(content, **fields), SERVED)
    assert isinstance(request, ChatRequest)
    return draft(request, msgspec.structs.replace(SERVED, seed=seed), cached_messages=cached_messages)


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"not JSON", 400, "invalid_json", None),
        (
            b'{"model":"gemma-3-4b-it","messages":[{"role":"user","content":"\xff"}]}',
            400,
            "invalid_json",
            None,
        ),
        (b'{"model":"gemma-3-4b-it"}', 400, "missing_required_parameter", "messages"),
        (b'{"model":7,"messages":[]}', 400, "invalid_type", "model"),
        (asked(model="gpt-5"), 404, "model_not_found", "model"),
        (asked(messages=[]), 400, "empty_array", "messages"),
        (asked("x" * 4000), 400, "context_length_exceeded", "messages"),
        (asked(max_tokens=0), 400, "invalid_value", "max_completion_tokens"),
        (asked(n=0), 400, "invalid_value", "n"),
        (asked(n=17), 400, "invalid_value", "n"),
        (asked(stop=5), 400, "invalid_type", "stop"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    body: bytes, status: int, code: str | None, param: str | None
) -> None:
    refusal = read(body, SERVED)
    assert isinstance(refusal, Refusal)
    assert (status, code, param) == (refusal.status, refusal.problem.code, refusal.problem.param)


def test_fields_it_does_not_know_are_ignored() -> None:
    fields = {"temperature": 0.3, "tools": [], "logit_bias": {}, "metadata": None, "anything": [1]}
    assert isinstance(read(asked(**fields), SERVED), ChatRequest)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([("user", b'"first"'), ("assistant", b'"no"'), ("user", b'"last"'), ("tool", b'"no"')], "last"),
        ([("user", b'[{"type":"text","text":"two"},{"type":"image_url","image_url":{}},{"text":"parts"}]')],
         "two parts"),
        ([("user", b"null")], ""),
        ([("user", b'[{"not":"text"}, "no part"]')], ""),
        ([("system", b'"only"')], ""),
    ],
)  # fmt: skip
def test_the_last_words_of_the_user_are_found(messages: list[tuple[str, bytes]], said: str) -> None:
    written = [b'{"role":"%b","content":%b}' % (role.encode(), content) for role, content in messages]
    assert said == said_last([msgspec.json.decode(one, type=ChatMessage) for one in written])


def test_prompt_tokens_are_what_admission_estimates() -> None:
    request = read(asked("x" * 399), SERVED)
    assert isinstance(request, ChatRequest)
    assert estimate_input(request.messages) == drafted("x" * 399).prompt_tokens == 99


def test_the_same_seeds_and_messages_make_the_same_answer_however_it_is_asked_for() -> None:
    first = drafted("Why?")
    assert first == drafted("Why?", stream=True, temperature=1, user="u")
    assert first.choices != drafted("Why not?").choices
    assert first.choices != drafted("Why?", seed=1).choices


def test_a_request_can_bring_its_own_seed() -> None:
    bodies = [asked(), asked(seed=7), asked(seed=8), asked(seed=7)]
    requests = [read(body, SERVED) for body in bodies]
    made = [draft(r, SERVED).choices for r in requests if isinstance(r, ChatRequest)]
    assert made[1] == made[3]
    assert made[0] != made[1] != made[2] != made[0]


def test_choices_differ_and_their_tokens_add_up() -> None:
    made = drafted(n=3)
    assert 3 == len({choice.tokens for choice in made.choices})
    assert made.total == sum(len(choice.tokens) for choice in made.choices)
    assert all(text_of(choice.tokens).startswith(NOTICE) for choice in made.choices)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6, "max_tokens": 5}, 6),
        ({"max_tokens": 500, "ignore_eos": True}, 500),
        ({"ignore_eos": True}, 999),  # the prompt has one token; the context has a thousand
        ({"max_tokens": 5000, "ignore_eos": True}, 999),
    ],
)
def test_an_answer_is_cut_where_the_caller_or_the_context_says(fields: dict[str, Any], tokens: int) -> None:
    made = drafted(**fields)
    assert (tokens, "length") == (made.total, made.choices[0].finish)


@pytest.mark.parametrize("stop", [" rehearsal", [" made", " rehearsal"]])
def test_stop_may_be_one_text_or_several(stop: object) -> None:
    made = drafted(stop=stop)
    assert ("This is a", "stop") == (text_of(made.choices[0].tokens), made.choices[0].finish)


def test_cached_tokens_are_those_of_the_messages_seen_but_never_all() -> None:
    messages = [{"role": "user", "content": "x" * 40}, {"role": "assistant", "content": "y" * 40}]
    assert 0 == drafted(messages=messages).cached_tokens
    assert 10 == drafted(messages=messages, cached_messages=1).cached_tokens
    assert 19 == drafted(messages=messages, cached_messages=2).cached_tokens
    assert 20 == drafted(messages=messages, cached_messages=2).prompt_tokens
