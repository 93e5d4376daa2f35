"""Whatever becomes of a call that is watched, it ends once."""

import io

import pytest

from events.config import Config
from services.front.call import Call, Reply
from services.router.router import Router
from services.router.watch import Watch
from services.telemetry.access import AccessLog, as_text
from services.telemetry.context import Sampler
from services.telemetry.spans import Span, Tracer
from tests.services.front.serving import serving
from tests.support.client import connected
from tests.support.routing import nothing

pytestmark = pytest.mark.anyio


def fails(call: Call, reply: Reply) -> None:
    raise RuntimeError("It fails.")


async def test_an_endpoint_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    out, spans = io.BytesIO(), list[Span]()
    lines = AccessLog(as_text, out)
    config = Config(backends={}, models={})
    watch = Watch(Sampler(ratio=1.0), Tracer(spans.append), lines, config=lambda: config)
    async with serving(Router({b"/a": fails}, nothing, watch)) as it, connected(it.port) as client:
        answers = [await client.ask("POST", "/a") for _ in range(2)]
    await lines.close()

    assert [500, 500] == [answer.status for answer in answers]
    assert ["POST /a 500"] * 2 == [line[:11] for line in out.getvalue().decode().splitlines()]
    assert ["internal_error"] * 2 == [span.error for span in spans]
