"""What the engine answers, over a real socket."""

from pathlib import Path

import msgspec
import pytest

from services.rehearsal.engine import RehearsalEngine
from services.rehearsal.profiles import INSTANT, LLAMACPP_L4, Batching
from services.rehearsal.said.prose import NOTICE
from tests.services.rehearsal.talk import CHAT, ask, engine, events, request, tokens_in, until

pytestmark = pytest.mark.anyio


async def test_every_answer_says_what_it_is_in_text_and_header() -> None:
    async with engine() as talk:
        whole = await talk.chat()
        assert whole.json["choices"][0]["message"]["content"].startswith(NOTICE)
        streamed = await talk.chat(stream=True)
        assert streamed.text.startswith(NOTICE)
        replies = [whole, streamed, await talk.call("/health", method="GET"), await talk.chat(model="other")]
        assert ["rehearsal"] * 4 == [reply.headers["x-penstock-engine"] for reply in replies]


async def test_streamed_and_whole_agree_in_text_and_usage() -> None:
    async with engine() as talk:
        whole = (await talk.chat()).json
        streamed = await talk.chat(stream=True, stream_options={"include_usage": True})
        assert whole["choices"][0]["message"]["content"] == streamed.text
        assert whole["usage"] == events(streamed.body)[-1]["usage"]
        assert whole["usage"]["completion_tokens"] == tokens_in(streamed.body)
        assert streamed.body.endswith(b"data: [DONE]\n\n")


async def test_answers_depend_on_the_engines_seed_alone() -> None:
    texts = []
    for seed in (1, 1, 2):
        async with engine(seed=seed) as talk:
            texts.append((await talk.chat(stream=True)).text)
    assert texts[0] == texts[1] != texts[2]


async def test_models_and_health() -> None:
    async with engine(model="mine", context=77) as talk:
        models = await talk.call("/v1/models", method="GET")
        told = [(m["id"], m["owned_by"], m["max_model_len"]) for m in models.json["data"]]
        assert [("mine", "penstock-rehearsal", 77)] == told
        assert {"status": "ok"} == (await talk.call("/health", method="GET")).json
        head = await talk.call("/health", method="HEAD")
        assert (200, b"") == (head.status, head.body)


@pytest.mark.parametrize(
    ("path", "method", "body", "status", "code"),
    [
        (CHAT, "POST", b"{", 400, "invalid_json"),
        (CHAT, "POST", ask(model="other"), 404, "model_not_found"),
        (CHAT, "POST", ask("x" * 5000), 400, "context_length_exceeded"),
        (CHAT, "GET", b"", 404, "not_found"),
        ("/v1/nothing", "POST", b"", 404, "not_found"),
    ],
)
async def test_errors_are_openais(path: str, method: str, body: bytes, status: int, code: str) -> None:
    async with engine(context=1000) as talk:
        reply = await talk.call(path, body, method=method)
        assert (status, code) == (reply.status, reply.json["error"]["code"])
        assert {"message", "type", "param", "code"} == set(reply.json["error"])


async def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    narrow = msgspec.structs.replace(INSTANT, slots=1, queue=1)
    async with engine(tmp_path, profile=narrow) as talk:
        await talk.control("hold", phase="first_token")
        opened = [await talk.open()]
        for number in (1, 2):
            opened.append(await talk.open(request(CHAT, ask(), {"x-penstock-attempt": f"r.{number}"})))
            await until(lambda n=number: len(talk.accepted()) == n)  # type: ignore[misc]
        assert {"running": [], "waiting": ["r.2"], "held": [{"attempt": "r.1", "phase": "first_token"}]} == (
            await talk.state()
        )
        refused = await talk.chat("r.3")
        assert (503, "queue_full", "1") == (
            refused.status,
            refused.json["error"]["code"],
            refused.headers["retry-after"],
        )
        assert 2 == len(talk.accepted())
        for _, writer in opened:
            writer.close()


async def test_while_it_starts_it_answers_503() -> None:
    starting = msgspec.structs.replace(INSTANT, start_up_s=0.4)
    async with engine(profile=starting, control=False) as talk:
        for path, method in (("/health", "GET"), ("/v1/models", "GET"), (CHAT, "POST")):
            reply = await talk.call(path, ask(), method=method)
            assert (503, "1") == (reply.status, reply.headers["retry-after"])

        async def ready() -> bool:
            return (await talk.call("/health", method="GET")).status == 200

        await until(ready)
        assert 200 == (await talk.chat()).status


async def test_an_engine_that_batches_remembers_what_it_read() -> None:
    assert isinstance(LLAMACPP_L4.pace, Batching)
    fast = Batching(weights_s=1e-4, sequence_s=0.0, near_token_s=0.0, far_token_s=0.0, prefill_per_s=1e6)
    async with engine(profile=msgspec.structs.replace(LLAMACPP_L4, pace=fast, start_up_s=0.0)) as talk:
        said = [{"role": "user", "content": "x" * 400}]
        usages = []
        for _ in range(2):
            usages.append((await talk.chat(messages=said, max_tokens=3)).json["usage"])
            said = [*said, {"role": "assistant", "content": "y" * 40}, {"role": "user", "content": "z" * 40}]
        assert [0, 100] == [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
        assert [100, 120] == [usage["prompt_tokens"] for usage in usages]


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with engine() as talk:
        other = RehearsalEngine()
        with pytest.raises(OSError, match=str(talk.port)):
            await other.start("127.0.0.1", talk.port)


async def test_without_control_nobody_pulls_strings() -> None:
    async with engine(control=False) as talk:
        for path, method in (("/rehearsal/hold", "POST"), ("/rehearsal/state", "GET")):
            assert 404 == (await talk.call(path, b'{"phase":"accepted"}', method=method)).status
        assert 200 == (await talk.chat(fault="status:500")).status


async def test_the_log_tells_what_clients_saw(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        whole = (await talk.chat("r.1", max_tokens=9)).json["usage"]
        streamed = await talk.chat("r.2", stream=True, content="Tell me more.")
        assert 404 == (await talk.chat("r.3", model="other")).status
        assert ["r.1", "r.2"] == [row.attempt for row in talk.accepted()]
        first, second = talk.ended()
        assert ("finished", 9, 9, whole["prompt_tokens"]) == (
            first.outcome,
            first.completion_tokens,
            first.sent_tokens,
            first.prompt_tokens,
        )
        tokens = tokens_in(streamed.body)
        assert (tokens, tokens) == (second.completion_tokens, second.sent_tokens)
        assert events(streamed.body)[0]["id"] == second.id
