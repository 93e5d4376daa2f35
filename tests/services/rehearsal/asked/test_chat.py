from typing import Any

import msgspec
import pytest

from events.words import Refusal
from functions.request.admission import ChatMessage, estimate_input
from services.rehearsal.asked.chat import ChatRequest, draft, read
from services.rehearsal.asked.checks import Served, UnfitError
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
        (asked(max_tokens=0), 400, "invalid_value", "max_completion_tokens"),
        (asked(n=0), 400, "invalid_value", "n"),
        (asked(n=17), 400, "invalid_value", "n"),
        (asked(stop=5), 400, "invalid_type", "stop"),
        (asked(temperature="hot"), 400, "invalid_type", "temperature"),
        (asked(temperature=2.1), 400, "invalid_value", "temperature"),
        (asked(top_p=-1), 400, "invalid_value", "top_p"),
        (asked(presence_penalty=3), 400, "invalid_value", "presence_penalty"),
        (asked(top_logprobs=3), 400, "invalid_value", "top_logprobs"),
        (asked(logprobs=True, top_logprobs=21), 400, "invalid_value", "top_logprobs"),
        (asked(service_tier="gold"), 400, "invalid_value", "service_tier"),
        (asked(response_format={"type": "xml"}), 400, "invalid_value", "response_format.type"),
        (asked(response_format={"type": "json_schema"}), 400, "invalid_value", "response_format.json_schema"),
        (asked(tool_choice="auto"), 400, "invalid_value", "tool_choice"),
        (asked(tools=[{"type": "custom"}]), 400, "invalid_value", "tools[0].type"),
        (asked(5), 400, "invalid_type", "messages[0].content"),
        (asked([{"type": "video"}]), 400, "invalid_value", "messages[0].content[0].type"),
        (asked([{"text": 5}]), 400, "invalid_value", "messages[0].content[0]"),
        (
            asked([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]),
            400,
            "invalid_value",
            "messages[0].content[0].image_url.url",
        ),
        (asked([{"text": "of no type"}]), 400, "invalid_value", "messages[0].content[0]"),
        (asked([{"type": "text"}]), 400, "invalid_value", "messages[0].content[0].text"),
        (asked(messages=[{"role": "pope", "content": ""}]), 400, "invalid_value", "messages[0].role"),
        (
            asked(messages=[{"role": "tool", "content": "5", "tool_call_id": "call_1"}]),
            400,
            "invalid_value",
            "messages[0].tool_call_id",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(
    body: bytes, status: int, code: str | None, param: str | None
) -> None:
    refusal = read(body, SERVED)
    assert isinstance(refusal, Refusal)
    assert (status, code, param) == (refusal.status, refusal.problem.code, refusal.problem.param)


def test_a_prompt_that_leaves_no_room_is_refused_when_the_answer_is_made_up() -> None:
    with pytest.raises(UnfitError) as refused:
        drafted("x" * 4000)
    problem = refused.value.refusal().problem
    assert ("context_length_exceeded", "messages") == (problem.code, problem.param)


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


CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}, {"id": "call_2"}]}
TOLD = [
    {"role": "tool", "content": "12 degrees", "tool_call_id": "call_1"},
    {"role": "tool", "content": "rain", "tool_call_id": "call_2"},
]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def test_after_a_tool_spoke_the_answer_repeats_what_it_said() -> None:
    asked_first = {"role": "user", "content": "Call weather."}
    made = drafted(messages=[asked_first, CALLED, *TOLD], tools=[TOOL])
    assert f"{NOTICE} The tool said “12 degrees, rain”." in text_of(made.choices[0].tokens)
    assert "stop" == made.choices[0].finish


def test_an_image_counts_as_256_tokens_and_tools_by_their_size() -> None:
    pixel = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    afar = {"type": "image_url", "image_url": {"url": "https://nowhere.invalid/cat.png", "detail": "high"}}
    said = {"type": "text", "text": "x" * 40}
    assert 256 + 256 + 10 == drafted([pixel, said, afar]).prompt_tokens
    assert 10 < drafted("x" * 40, tools=[TOOL]).prompt_tokens < 60


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
def test_anybody_may_speak(role: str) -> None:
    assert drafted(messages=[{"role": role, "content": "Hello."}]).choices


@pytest.mark.parametrize("stop", ["}", ["rehearsal"]])
def test_stop_ends_structured_answers_too(stop: object) -> None:
    made = drafted(response_format={"type": "json_object"}, stop=stop)
    assert "}" not in text_of(made.choices[0].tokens)
    assert "stop" == made.choices[0].finish


def test_calls_are_cut_at_the_limit_as_text_is() -> None:
    whole = drafted(tools=[TOOL, TOOL], tool_choice="required").choices[0]
    assert ("tool_calls", 1) == (whole.finish, len(whole.calls))
    cut = drafted(tools=[TOOL], tool_choice="required", max_tokens=1).choices[0]
    assert ("length", 1, ()) == (cut.finish, len(cut.tokens), cut.arguments(0))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{**TOOL, "function": {"name": "f", "parameters": {"not": {}}}}]}, "tools"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 7}}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_a_schema_nothing_fits_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnfitError) as refused:
        drafted("Call f.", **fields)
    assert param == refused.value.param
