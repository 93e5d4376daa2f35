"""Traces as a collector gets them: from the client through router, events and functions to the engine."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.runtime.telemetry import Wish
from services.telemetry.context import Sampler
from tests.support.otlp import Collector, Told, collector
from tests.support.platform import Running, config_file, running
from tests.support.upstream import Upstream, answers, resets, streams, upstream
from tests.support.wire import DONE, MODEL, chat, completion, delta, problem, usage

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{CLIENT}-01"
UNSAMPLED = f"00-{TRACE}-{CLIENT}-00"
SERVER, ATTEMPT, PRODUCER, CONSUMER = 2, 3, 4, 5  # kinds on the wire


@pytest.fixture
def told() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def platform(tmp_path: Path, told: Collector, engine: Upstream) -> AsyncIterator[Running]:
    """One that traces what its callers decided to."""
    wish = wished(told, Sampler(ratio=0.0))
    async with running(tmp_path, wish, config=config_file(tmp_path, engine.url), attempts=3) as made:
        yield made


def wished(told: Collector, sampler: Sampler) -> Wish:
    return Wish(traces_url=f"{told.url}/v1/traces", sampler=sampler)


def one(spans: list[Told], kind: int) -> Told:
    (found,) = [span for span in spans if span.kind == kind]
    return found


async def test_a_call_is_one_trace_from_its_client_to_the_engine(
    platform: Running, engine: Upstream, told: Collector
) -> None:
    engine.will(answers(completion(usage=usage(7, 3))))
    answer = await platform.chat(headers={"traceparent": SAMPLED})
    await platform.platform.stop()
    server, attempt = one(told.spans, SERVER), one(told.spans, ATTEMPT)

    assert (TRACE, CLIENT) == (server.trace, server.parent)
    assert (TRACE, server.id) == (attempt.trace, attempt.parent)
    assert f"00-{TRACE}-{attempt.id}-01" == engine.calls[0].headers["traceparent"]
    assert "POST /v1/chat/completions" == server.name
    assert answer.headers["x-request-id"] == server.attributes["penstock.request.id"]
    assert (200, MODEL) == tuple(
        server.attributes[name] for name in ("http.response.status_code", "gen_ai.request.model")
    )
    assert f"chat {MODEL}" == attempt.name
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "127.0.0.1",
    }.items() <= attempt.attributes.items()
    assert not server.failed and not attempt.failed
    assert "penstock" == server.service


async def test_every_attempt_is_a_span_and_a_failed_one_says_how(
    platform: Running, engine: Upstream, told: Collector
) -> None:
    engine.will(answers(problem(), 500), resets, answers(completion()))
    await platform.chat(headers={"traceparent": SAMPLED})
    await platform.platform.stop()
    attempts = sorted(
        (span for span in told.spans if span.kind == ATTEMPT),
        key=lambda s: s.attributes["penstock.attempt.number"],
    )

    assert ["engine_error", "engine_died", None] == [span.attributes.get("error.type") for span in attempts]
    assert [True, True, False] == [span.failed for span in attempts]
    assert [span.id for span in attempts] == [
        call.headers["traceparent"].split("-")[2] for call in engine.calls
    ]
    assert 3 == len({span.id for span in attempts})


async def test_a_stream_tells_its_first_token(platform: Running, engine: Upstream, told: Collector) -> None:
    engine.will(streams(delta("Hello"), delta("."), DONE))
    await platform.chat(stream=True, headers={"traceparent": SAMPLED})
    await platform.platform.stop()

    assert one(told.spans, SERVER).attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert one(told.spans, ATTEMPT).attributes["gen_ai.request.stream"]


@pytest.mark.parametrize("header", [UNSAMPLED, None, "00-junk", f"00-{'0' * 32}-{CLIENT}-01"])
async def test_what_is_not_sampled_has_no_span(
    platform: Running, engine: Upstream, told: Collector, header: str | None
) -> None:
    engine.will(answers(completion()))
    await platform.chat(headers={"traceparent": header} if header else {})
    await platform.platform.stop()

    assert [] == told.spans
    assert header == engine.calls[0].headers.get("traceparent")


async def test_calls_nobody_decided_about_are_sampled_by_ratio(
    tmp_path: Path, told: Collector, engine: Upstream
) -> None:
    engine.will(answers(completion()))
    wish = wished(told, Sampler(ratio=1.0))
    async with running(tmp_path, wish, config=config_file(tmp_path, engine.url)) as platform:
        await platform.chat()
        await platform.call("GET", "/health")
    server = one(told.spans, SERVER)

    assert "" == server.parent
    assert server.trace == engine.calls[0].headers["traceparent"].split("-")[1]


async def test_refusals_are_no_failures_of_the_server(platform: Running, told: Collector) -> None:
    await platform.chat(model="gpt-9", headers={"traceparent": SAMPLED})
    await platform.platform.stop()
    server = one(told.spans, SERVER)

    assert 404 == server.attributes["http.response.status_code"]
    assert "gen_ai.request.model" not in server.attributes  # what a caller made up is nobody's label
    assert not server.failed


async def test_a_queued_request_is_one_trace_through_events_and_dispatcher(
    platform: Running, engine: Upstream, told: Collector
) -> None:
    engine.will(answers(completion(usage=usage(7, 3))))
    queued = await platform.call("POST", "/v1/requests", chat("Hi."), {"traceparent": SAMPLED})
    await platform.call("GET", f"/v1/requests/{queued.json['id']}?wait=10")

    await platform.platform.stop()
    server = one(told.spans, SERVER)
    run, call = told.named("run request")[0], told.named(f"chat {MODEL}")[0]

    assert {TRACE} == {span.trace for span in told.spans}
    assert server.id == run.parent
    assert run.id == call.parent
    assert f"00-{TRACE}-{call.id}-01" == engine.calls[0].headers["traceparent"]
    assert queued.json["id"] == run.attributes["penstock.request.id"]
    assert 3 == call.attributes["gen_ai.usage.output_tokens"]
    sent = {span.name: span.parent for span in told.spans if span.kind == PRODUCER}
    assert {
        "send inference-routed-v1": server.id,
        "send inference-completed-v1": server.id,
    }.items() <= sent.items()
    assert server.id == told.named("process dispatcher penstock.inference.routed.v1")[0].parent


async def test_a_collector_that_is_away_costs_nobody_an_answer(
    platform: Running, engine: Upstream, told: Collector
) -> None:
    told.away = True
    engine.will(answers(completion()))
    answer = await platform.chat(headers={"traceparent": SAMPLED})

    assert 200 == answer.status
