"""OpenAI's client for Python, the real one, on every endpoint that is claimed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.judges import OPENAI_PYTHON
from tests.conformance.site import MODEL, Site, uncalled
from tests.support import official

pytestmark = pytest.mark.slow

SAY: list[Any] = [{"role": "user", "content": "What is a penstock?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
FUNCTION: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}


def test_every_endpoint_serves_openais_client_for_python(site: Site, subtests: pytest.Subtests) -> None:
    called: set[str] = set()

    def note(request: Any) -> None:
        called.add(f"{request.method} {request.url.path}")

    with (
        official.DefaultHttpxClient(event_hooks={"request": [note]}, verify=False) as transport,
        official.OpenAI(
            base_url=f"{site.url}/v1", api_key=site.key, max_retries=0, http_client=transport
        ) as client,
    ):
        for case in CASES:
            with subtests.test(case.__name__):
                case(client)

    assert set() == uncalled(called)
    assert OPENAI_PYTHON.score == f"{len(CASES)} of {len(CASES)}"


def is_weather(text: str) -> bool:
    told = json.loads(text)
    return {"city", "days"} == told.keys() and isinstance(told["city"], str) and 1 <= told["days"] <= 9


def chat(client: Any) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=SAY)

    assert "stop" == answer.choices[0].finish_reason
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert (answer._request_id or "").startswith("req_")


def chat_streamed(client: Any) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=SAY, seed=7)
    usage: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        model=MODEL, messages=SAY, seed=7, stream=True, stream_options=usage
    )
    chunks = list(stream)

    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert whole.choices[0].message.content == text
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert whole.usage.completion_tokens == chunks[-1].usage.completion_tokens


def chat_stream_helper(client: Any) -> None:
    with client.chat.completions.stream(model=MODEL, messages=SAY) as stream:
        heard = "".join(event.delta for event in stream if event.type == "content.delta")
        assert stream.get_final_completion().choices[0].message.content == heard


def chat_options(client: Any) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=SAY, n=3, logprobs=True, top_logprobs=2, max_completion_tokens=5, stop=["zzz"]
    )

    assert [(0, "length"), (1, "length"), (2, "length")] == [
        (choice.index, choice.finish_reason) for choice in answer.choices
    ]
    for choice in answer.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert [2] * 5 == [len(token.top_logprobs) for token in choice.logprobs.content]


def chat_tools(client: Any) -> None:
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    first = client.chat.completions.create(model=MODEL, messages=SAY, tools=[TOOL], tool_choice=choice)
    message: Any = first.choices[0].message
    (call,) = message.tool_calls
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "It rains."}
    second = client.chat.completions.create(model=MODEL, messages=[*SAY, message, result], tools=[TOOL])
    stream = client.chat.completions.create(
        model=MODEL, messages=SAY, tools=[TOOL], tool_choice="required", stream=True
    )
    told = [call for chunk in stream for choice in chunk.choices for call in choice.delta.tool_calls or ()]

    assert is_weather(call.function.arguments)
    assert "stop" == second.choices[0].finish_reason
    assert is_weather("".join(call.function.arguments or "" for call in told if call.function))


def chat_schema(client: Any) -> None:
    form: Any = {"name": "weather", "strict": True, "schema": SCHEMA}
    answer = client.chat.completions.create(
        model=MODEL, messages=SAY, response_format={"type": "json_schema", "json_schema": form}
    )
    whatever = client.chat.completions.create(
        model=MODEL, messages=SAY, response_format={"type": "json_object"}
    )

    assert is_weather(answer.choices[0].message.content or "")
    assert isinstance(json.loads(whatever.choices[0].message.content or ""), dict)


def completions(client: Any) -> None:
    whole = client.completions.create(model=MODEL, prompt=["One.", "Two."], max_tokens=6, seed=7)
    stream = client.completions.create(model=MODEL, prompt="One.", max_tokens=6, seed=7, stream=True)

    assert [0, 1] == [choice.index for choice in whole.choices]
    assert whole.choices[0].text == "".join(choice.text for chunk in stream for choice in chunk.choices)


def embeddings(client: Any) -> None:
    numbers = client.embeddings.create(
        model=MODEL, input=["a", "b"], dimensions=8, encoding_format="float"
    ).data
    packed = client.embeddings.create(model=MODEL, input=["a", "b"], dimensions=8).data

    assert [(0, 8), (1, 8)] == [(row.index, len(row.embedding)) for row in numbers]
    assert [pytest.approx(row.embedding, abs=1e-6) for row in numbers] == [row.embedding for row in packed]


def responses(client: Any) -> None:
    whole = client.responses.create(model=MODEL, input="Hi.", instructions="Be brief.")
    events = list(client.responses.create(model=MODEL, input="Hi.", stream=True))
    with client.responses.stream(model=MODEL, input="Hi.") as stream:
        helped = stream.get_final_response()

    assert "completed" == whole.status
    assert whole.output_text
    assert helped.output_text
    assert [*range(len(events))] == [event.sequence_number for event in events]
    assert ["response.created", "response.completed"] == [events[0].type, events[-1].type]


def responses_functions(client: Any) -> None:
    first = client.responses.create(model=MODEL, input=SAY, tools=[FUNCTION], tool_choice="required")
    (call,) = [item for item in first.output if item.type == "function_call"]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}
    turns: Any = [*SAY, *first.output, output]
    second = client.responses.create(model=MODEL, input=turns, tools=[FUNCTION])
    form: Any = {"format": {"type": "json_schema", "name": "weather", "strict": True, "schema": SCHEMA}}
    third = client.responses.create(model=MODEL, input=SAY, text=form)

    assert is_weather(call.arguments)
    assert "It rains" in second.output_text
    assert is_weather(third.output_text)


def responses_kept(client: Any) -> None:
    said = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
    made = client.responses.create(model=MODEL, input=said, store=True)
    read = client.responses.retrieve(made.id)
    items = [item.content[0].text for item in client.responses.input_items.list(made.id, limit=1)]
    client.responses.delete(made.id)

    assert made.output_text == read.output_text != ""
    assert ["Two.", "One."] == items
    with pytest.raises(official.NotFoundError):
        client.responses.retrieve(made.id)


def responses_in_background(client: Any) -> None:
    events = list(client.responses.create(model=MODEL, input="Hi.", background=True, stream=True))
    name = events[0].response.id
    rest = list(client.responses.retrieve(name, stream=True, starting_after=5))
    helper = client.responses.stream(response_id=name)
    with helper as stream:
        helped = stream.get_final_response()
    cancelled = client.responses.cancel(name)

    assert ("response.created", "queued") == (events[0].type, events[0].response.status)
    assert "response.completed" == events[-1].type
    assert events[6:] == rest
    assert events[-1].response.output_text == helped.output_text == cancelled.output_text != ""
    assert "completed" == cancelled.status


def retried(client: Any) -> None:
    asked = {"model": MODEL, "messages": SAY, "extra_headers": {"idempotency-key": "order-4711"}}
    first, again = (client.chat.completions.with_raw_response.create(**asked) for _ in range(2))

    assert first.content == again.content
    assert "true" == again.headers["idempotent-replayed"]


def models(client: Any) -> None:
    assert MODEL in [row.id for row in client.models.list()]
    assert "model" == client.models.retrieve(MODEL).object


def queue(client: Any) -> None:
    queued: Any = client.post("/requests", body={"model": MODEL, "messages": SAY}, cast_to=object)
    read: Any = client.get(f"/requests/{queued['id']}?wait=30", cast_to=object)
    cancelled: Any = client.post(f"/requests/{queued['id']}/cancel", cast_to=object)

    assert "chat.completion" == read["response"]["body"]["object"]
    assert ["completed"] * 2 == [read["status"], cancelled["status"]]


def health(client: Any) -> None:
    for path in ("health", "ready"):
        client.get(str(client.base_url.join(f"/{path}")), cast_to=object)


def errors(client: Any) -> None:
    with pytest.raises(official.AuthenticationError):
        client.with_options(api_key="psk_wrong").models.list()
    with pytest.raises(official.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=SAY)
    for call in (client.embeddings.create, client.responses.create):
        with pytest.raises(official.BadRequestError) as wrong:
            call(model=MODEL, input=[])
        assert "input" == wrong.value.param

    assert "model_not_found" == unknown.value.code


CASES: tuple[Callable[[Any], None], ...] = (
    chat,
    chat_streamed,
    chat_stream_helper,
    chat_options,
    chat_tools,
    chat_schema,
    completions,
    embeddings,
    responses,
    responses_functions,
    responses_kept,
    responses_in_background,
    retried,
    models,
    queue,
    health,
    errors,
)
