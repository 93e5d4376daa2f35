"""What is counted of requests, as figures show it."""

import pytest

from events.requests import CHAT
from events.words import Usage
from services.router.metrics import Metrics
from services.telemetry import figures
from services.telemetry.figures import Counts, Figure, Sample
from services.telemetry.prometheus import PrometheusFigures

PLACE = ("chat", "gemma", "pool")


def samples(metrics: Metrics, figure: Figure) -> dict[tuple[str, ...], float | Counts]:
    (found,) = [reading.samples for reading in metrics.read() if reading.figure is figure]
    return {sample.values: sample.value for sample in found}


def counted(metrics: Metrics, figure: Figure) -> dict[tuple[str, ...], int]:
    found = samples(metrics, figure).items()
    return {values: sum(value.buckets) for values, value in found if isinstance(value, Counts)}


def ended(metrics: Metrics, outcome: str = "finished", first_s: float | None = 0.3, output: int = 11) -> None:
    usage = Usage(input=100, output=output)
    metrics.ended("gemma", outcome, usage, 0.8, first_s, backend="pool", path=CHAT)


def test_a_streamed_answer_tells_its_duration_its_first_token_and_the_time_of_each_other() -> None:
    metrics = Metrics({})
    ended(metrics)
    duration = samples(metrics, figures.REQUESTS)[*PLACE, ""]
    first = samples(metrics, figures.FIRST_TOKENS)[PLACE]
    each = samples(metrics, figures.OUTPUT_TOKENS)[PLACE]
    assert isinstance(duration, Counts) and isinstance(first, Counts) and isinstance(each, Counts)

    assert (0.8, 0.3) == (duration.total, first.total)
    assert 0.05 == pytest.approx(each.total)  # ten tokens behind the first in half a second
    assert 1 == duration.buckets[figures.REQUESTS.bounds.index(1.28)]


@pytest.mark.parametrize("bound", [0.01, 81.92])
def test_a_value_at_a_bound_lies_below_it(bound: float) -> None:
    metrics = Metrics({})
    metrics.ended("gemma", "finished", Usage(), bound, None, backend="pool")
    duration = samples(metrics, figures.REQUESTS)[*PLACE, ""]

    assert isinstance(duration, Counts)
    assert 1 == duration.buckets[figures.REQUESTS.bounds.index(bound)]


def test_failures_are_told_by_their_kind_and_have_no_first_token() -> None:
    metrics = Metrics({})
    ended(metrics, "engine_died")
    ended(metrics, "deadline")

    assert {(*PLACE, "engine_died"): 1, (*PLACE, "deadline"): 1} == counted(metrics, figures.REQUESTS)
    assert {} == samples(metrics, figures.FIRST_TOKENS)


@pytest.mark.parametrize(("first_s", "output"), [(None, 9), (0.8, 9), (0.3, 1), (0.3, 0)])
def test_what_has_no_time_between_tokens_tells_none(first_s: float | None, output: int) -> None:
    metrics = Metrics({})
    ended(metrics, first_s=first_s, output=output)

    assert {} == samples(metrics, figures.OUTPUT_TOKENS)


def test_tokens_of_both_ways_in_are_added() -> None:
    metrics = Metrics({})
    ended(metrics)
    metrics.attempted("gemma", "pool", CHAT, "finished", Usage(input=5, output=2), 1.0)
    tokens = samples(metrics, figures.TOKENS)
    sums = {values[-1]: value.total for values, value in tokens.items() if isinstance(value, Counts)}

    assert {"input": 105.0, "output": 13.0} == sums
    assert {(*PLACE, ""): 1} == counted(metrics, figures.OPERATIONS)


def test_refusals_retries_and_the_cache_are_counted() -> None:
    metrics = Metrics({})
    metrics.refused(404, "model_not_found")
    metrics.retried("gemma", "engine_died")
    metrics.retried("gemma", "engine_died")
    metrics.looked("memory")

    assert {("404", "model_not_found"): 1} == samples(metrics, figures.REFUSALS)
    assert {("gemma", "engine_died"): 2} == samples(metrics, figures.RETRIES)
    assert {("memory",): 1} == samples(metrics, figures.CACHE)


def test_gauges_are_read_when_somebody_asks() -> None:
    running = [1.0]
    waits = {("pool", "batch"): 4.0}
    metrics = Metrics({"queue_running": lambda: running[0], "queue_waiting": lambda: waits})
    running[0] = 3.0
    told = {reading.figure.name: list(reading.samples) for reading in metrics.read()}

    assert [Sample((), 3.0)] == told["penstock.queue.running"]
    assert [Sample(("pool", "batch"), 4.0)] == told["penstock.queue.waiting"]


def test_prometheus_reads_every_figure_by_its_own_name() -> None:
    metrics = Metrics(
        {name: (lambda: 0.0) for name, figure in figures.GAUGES.items() if not figure.attributes}
    )
    ended(metrics)
    families = {family.name: family for family in PrometheusFigures(metrics.read).collect()}
    buckets = families["gen_ai_server_request_duration_seconds"].samples

    assert {"penstock_retries", "penstock_held_bytes", "gen_ai_client_token_usage"} <= families.keys()
    assert {figure.prometheus for figure in figures.FIGURES if not figure.name.startswith("penstock")} <= set(
        families
    )
    assert ("0.64", 0.0) in [(sample.labels.get("le"), sample.value) for sample in buckets]
    assert ("+Inf", 1.0) in [(sample.labels.get("le"), sample.value) for sample in buckets]
