"""The official client asks for completions of text, embeddings and models."""

import base64
import math
from array import array
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.rehearsal.profiles import LLAMACPP_L4, Batching
from services.rehearsal.said.prose import NOTICE
from tests.services.rehearsal.talk import Reply, Talk, engine, events
from tests.services.rehearsal.test_clients import MODEL, client
from tests.support import official

pytestmark = pytest.mark.anyio

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"


async def post(talk: Talk, path: str, attempt: str = "", fault: str = "", **fields: object) -> Reply:
    headers = {"x-penstock-attempt": attempt} | ({"x-rehearsal-fault": fault} if fault else {})
    return await talk.call(path, msgspec.json.encode({"model": MODEL, **fields}), headers)


# --- completions


async def test_a_completion_has_sixteen_tokens_unless_more_are_asked_for() -> None:
    async with engine() as talk, client(talk) as ai:
        short = await ai.completions.create(model=MODEL, prompt="Once upon a time")
        assert short.usage is not None
        assert (4, 16, "length") == (
            short.usage.prompt_tokens,
            short.usage.completion_tokens,
            short.choices[0].finish_reason,
        )
        long = await ai.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=900)
        assert long.choices[0].text.startswith(f"{NOTICE} You said “Once upon a time”.")
        assert ("text_completion", "stop") == (long.object, long.choices[0].finish_reason)


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("logprobs", [None, 0, 2])
async def test_a_streamed_completion_is_the_whole_one(echo: bool, logprobs: int | None) -> None:
    async with engine() as talk, client(talk) as ai:
        fields: Any = {"model": MODEL, "prompt": ["a river", "the é"], "n": 2}
        fields |= {"echo": echo, "logprobs": logprobs}
        whole = await ai.completions.create(**fields)
        texts, ends = [""] * 4, [""] * 4
        tokens: list[list[str]] = [[], [], [], []]
        offsets: list[list[int]] = [[], [], [], []]
        usage = None
        stream = await ai.completions.create(**fields, stream=True, stream_options={"include_usage": True})
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                texts[choice.index] += choice.text
                ends[choice.index] = choice.finish_reason or ends[choice.index]
                if choice.logprobs is not None:
                    tokens[choice.index] += choice.logprobs.tokens or []
                    offsets[choice.index] += choice.logprobs.text_offset or []
        assert whole.usage == usage
        for choice in whole.choices:
            at = choice.index
            assert (choice.text, choice.finish_reason) == (texts[at], ends[at])
            assert echo is choice.text.startswith(("a river", "the é"))
            if choice.logprobs is not None:
                assert (choice.logprobs.tokens, choice.logprobs.text_offset) == (tokens[at], offsets[at])
                assert choice.text == "".join(tokens[at])
                pairs = zip(offsets[at], tokens[at], strict=True)
                assert all(choice.text[begin:].startswith(token) for begin, token in pairs)
                assert echo is ((choice.logprobs.token_logprobs or [0])[0] is None)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_can_be_judged_without_an_answer(tmp_path: Path, stream: bool) -> None:
    async with engine(tmp_path) as talk:
        fields = {"echo": True, "logprobs": 1, "max_tokens": 0, "stream": stream}
        reply = await post(talk, COMPLETIONS, "r.1", prompt="a river", **fields)
        assert (200, True) == (reply.status, reply.whole)
        told = events(reply.body) if stream else [reply.json]
        choices = [choice for one in told for choice in one["choices"]]
        assert "a river" == "".join(choice["text"] for choice in choices)
        assert "length" == choices[-1]["finish_reason"]
        odds = choices[0]["logprobs"]["token_logprobs"]
        assert (None, True) == (odds[0], all(one < 0 for one in odds[1:]))
        assert ("finished", 0) == ((row := await talk.end_of("r.1")).outcome, row.completion_tokens)


async def test_prompts_may_be_token_ids() -> None:
    async with engine() as talk:
        one = (await post(talk, COMPLETIONS, prompt=[5, 6, 7], echo=True, max_tokens=1)).json
        assert (3, True) == (one["usage"]["prompt_tokens"], one["choices"][0]["text"].startswith("<5><6><7>"))
        several = (await post(talk, COMPLETIONS, prompt=[[5], [6, 7]], max_tokens=1)).json
        assert (3, [0, 1]) == (
            several["usage"]["prompt_tokens"],
            [one["index"] for one in several["choices"]],
        )


async def test_a_completion_stops_where_it_should() -> None:
    async with engine() as talk, client(talk) as ai:
        made = await ai.completions.create(
            model=MODEL, prompt="x", stop=[" rehearsal"], seed=5, temperature=1
        )
        assert ("This is a", "stop") == (made.choices[0].text, made.choices[0].finish_reason)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (COMPLETIONS, {"prompt": "x", "suffix": "y"}, "suffix"),
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": ["a", 5]}, "prompt[1]"),
        (COMPLETIONS, {"prompt": [[]]}, "prompt[0]"),
        (COMPLETIONS, {"prompt": [-1]}, "prompt[0]"),
        (COMPLETIONS, {"prompt": 5}, "prompt"),
        (COMPLETIONS, {}, "prompt"),
        (COMPLETIONS, {"prompt": "x" * 4000}, "prompt"),
        (COMPLETIONS, {"prompt": "x", "max_tokens": -1}, "max_tokens"),
        (COMPLETIONS, {"prompt": "x", "logprobs": 6}, "logprobs"),
        (COMPLETIONS, {"prompt": "x", "n": 0}, "n"),
        (COMPLETIONS, {"prompt": ["x"] * 100, "n": 2}, "n"),
        (COMPLETIONS, {"prompt": "x", "n": 3, "best_of": 2}, "best_of"),
        (COMPLETIONS, {"prompt": "x", "best_of": 2, "stream": True}, "best_of"),
        (COMPLETIONS, {"prompt": "x", "temperature": 3}, "temperature"),
        (EMBEDDINGS, {}, "input"),
        (EMBEDDINGS, {"input": ""}, "input"),
        (EMBEDDINGS, {"input": ["x", ""]}, "input"),
        (EMBEDDINGS, {"input": []}, "input"),
        (EMBEDDINGS, {"input": ["x"] * 2049}, "input"),
        (EMBEDDINGS, {"input": "x" * 4000}, "input"),
        (EMBEDDINGS, {"input": [True]}, "input[0]"),
        (EMBEDDINGS, {"input": "x", "encoding_format": "hex"}, "encoding_format"),
        (EMBEDDINGS, {"input": "x", "dimensions": 0}, "dimensions"),
        (EMBEDDINGS, {"input": "x", "dimensions": 5000}, "dimensions"),
    ],
)
async def test_what_cannot_be_answered_is_refused(path: str, fields: dict[str, Any], param: str) -> None:
    async with engine(context=1000) as talk:
        reply = await post(talk, path, **fields)
        assert (400, param) == (reply.status, reply.json["error"]["param"])
        unknown = await post(talk, path, prompt="x", input="x", model="other")
        assert (404, "model_not_found") == (unknown.status, unknown.json["error"]["code"])


# --- embeddings


async def test_embeddings_are_unit_vectors_the_same_in_both_encodings() -> None:
    async with engine() as talk, client(talk) as ai:
        texts = ["a river", "a lake"]
        # The client asks for base64 where nothing is said, and decodes it.
        packed = await ai.embeddings.create(model=MODEL, input=texts)
        plain = await ai.embeddings.create(model=MODEL, input=texts, encoding_format="float")
        assert [0, 1] == [one.index for one in plain.data]
        for one, other in zip(packed.data, plain.data, strict=True):
            assert 768 == len(one.embedding) == len(other.embedding)
            assert pytest.approx(1.0) == math.hypot(*other.embedding)
            assert pytest.approx(other.embedding, abs=1e-6) == one.embedding
        assert plain.data[0].embedding != plain.data[1].embedding
        assert (2, 2) == (plain.usage.prompt_tokens, plain.usage.total_tokens)


async def test_embeddings_depend_on_input_seed_and_size_alone() -> None:
    told = []
    for seed in (1, 1, 2):
        async with engine(seed=seed) as talk:
            fields = {"dimensions": 8, "encoding_format": "base64", "user": "u"}
            reply = await post(talk, EMBEDDINGS, input=[5, 6], **fields)
            told.append(list(array("f", base64.b64decode(reply.json["data"][0]["embedding"]))))
    assert told[0] == told[1] != told[2]
    assert [8, 8, 8] == list(map(len, told))


async def test_embeddings_take_a_slot_and_suffer_faults_and_are_noted(tmp_path: Path) -> None:
    fast = Batching(weights_s=1e-4, sequence_s=0.0, near_token_s=0.0, far_token_s=0.0, prefill_per_s=1e6)
    profile = msgspec.structs.replace(LLAMACPP_L4, pace=fast, start_up_s=0.0)
    async with engine(tmp_path, profile=profile) as talk:
        assert 200 == (await post(talk, EMBEDDINGS, "r.1", input="a river")).status
        row = await talk.end_of("r.1")
        assert ("finished", 1, 0) == (row.outcome, row.prompt_tokens, row.completion_tokens)
        assert 0 == (await post(talk, EMBEDDINGS, "r.2", "reset", input="a river")).status
        assert "error" == (await talk.end_of("r.2")).outcome


# --- models


@pytest.mark.parametrize("name", ["gemma-3-4b-it", "google/gemma 3:4b", "a+b%20c"])
async def test_a_model_is_found_by_its_name(name: str) -> None:
    async with engine(model=name) as talk, client(talk) as ai:
        assert name == (await ai.models.retrieve(name)).id
        with pytest.raises(official.NotFoundError) as raised:
            await ai.models.retrieve("other")
        assert "model_not_found" == raised.value.code
        listed = [model async for model in ai.models.list()]
        assert [name] == [model.id for model in listed]
