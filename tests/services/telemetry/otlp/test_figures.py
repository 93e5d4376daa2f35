"""Figures as a collector gets them: the same as Prometheus reads."""

from pathlib import Path

import pytest

from services.runtime.telemetry import Wish
from services.telemetry.figures import FIGURES
from tests.support.otlp import Collector, collector
from tests.support.platform import config_file, eventually, running
from tests.support.upstream import answers, streams, upstream
from tests.support.wire import DONE, MODEL, completion, delta, problem, usage

pytestmark = pytest.mark.anyio

PLACE = {"gen_ai.operation.name": "chat", "gen_ai.request.model": MODEL, "penstock.backend": "pool"}


async def sent(folder: Path, told: Collector, every_s: float = 60.0) -> None:
    """A platform answers three calls, badly one of them."""
    wish = Wish(metrics_url=f"{told.url}/v1/metrics", every_s=every_s)
    async with upstream() as engine:
        engine.will(
            answers(completion(usage=usage(7, 3))),
            answers(problem(), 500),
            streams(delta("a"), delta("b"), DONE),
        )
        async with running(folder, wish, config=config_file(folder, engine.url)) as platform:
            await platform.chat()
            await platform.chat()
            await platform.chat(stream=True)
            await platform.chat(model="gpt-9")
            if every_s < 1:
                await eventually(lambda: _came(told))


async def _came(told: Collector) -> bool:
    return "gen_ai.client.token.usage" in told.metrics


async def test_the_last_figures_are_sent_at_the_end(tmp_path: Path) -> None:
    with collector() as told:
        await sent(tmp_path, told)
        durations = told.points("gen_ai.server.request.duration")
        tokens = told.points("gen_ai.client.token.usage")
        refusals = told.points("penstock.refusals")
        units = {name: metric.unit for name, metric in told.metrics.items()}

    counts = {attributes.get("error.type", ""): point.count for attributes, point in durations}
    assert {"": 2, "engine_error": 1} == counts
    assert [PLACE] == [attributes for attributes, _ in durations if "error.type" not in attributes]
    assert {"input", "output"} == {attributes["gen_ai.token.type"] for attributes, _ in tokens}
    assert [({"http.response.status_code": "404", "error.type": "model_not_found"}, 1)] == [
        (attributes, point.as_double or point.as_int) for attributes, point in refusals
    ]
    assert ("s", "{token}") == (units["gen_ai.server.request.duration"], units["gen_ai.client.token.usage"])
    assert set(told.metrics) <= {figure.name for figure in FIGURES}


async def test_histograms_have_the_bounds_of_the_conventions(tmp_path: Path) -> None:
    with collector() as told:
        await sent(tmp_path, told)
        for figure in FIGURES:
            if figure.kind == "histogram" and figure.name in told.metrics:
                for _, point in told.points(figure.name):
                    assert list(figure.bounds) == list(point.explicit_bounds)
                    assert point.count == sum(point.bucket_counts)
                    assert len(figure.bounds) + 1 == len(point.bucket_counts)


async def test_figures_are_sent_in_between(tmp_path: Path) -> None:
    with collector() as told:
        await sent(tmp_path, told, every_s=0.1)

        assert 1 < len(told.raw)


async def test_a_collector_that_is_away_stops_nothing(tmp_path: Path) -> None:
    with collector() as told:
        told.away = True
        await sent(tmp_path, told)

        assert {} == told.metrics
