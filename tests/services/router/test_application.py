"""What goes wrong behind the hot path is told in OpenAI's envelope too, a fault of ours included."""

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from events.words import Conflict, Invalid, Unavailable
from services.router.api import application
from services.router.router import Router
from tests.services.front.serving import serving
from tests.services.router.refusing import refusal
from tests.support import client
from tests.support.client import connected

pytestmark = pytest.mark.anyio


async def answer_to(error: Exception, method: str = "GET", path: str = "/fails") -> client.Response:
    """What a client gets of an endpoint that raises."""

    async def fails(request: Request) -> Response:
        raise error

    router = Router({}, application([Route("/fails", fails)]))
    async with serving(router) as it, connected(it.port) as caller:
        return await caller.ask(method, path)


FAULTS = [ValueError("a secret"), RecursionError("a secret"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "")]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
async def test_a_fault_is_told_without_its_reason_and_logged_with_it(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await answer_to(error)

    assert "secret" not in refusal(answer, 500, "internal_error")
    assert ["an endpoint failed: GET /fails"] == [record.message for record in caplog.records]
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Invalid("No."), 400, "invalid_request"),
        (Conflict("No."), 409, "conflict"),
        (Unavailable("The store is away."), 503, "unavailable"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_our_own_errors_have_their_statuses(error: Exception, status: int, code: str) -> None:
    refusal(await answer_to(error), status, code)


async def test_what_is_not_there_is_told() -> None:
    refusal(await answer_to(ValueError(), path="/nothing"), 404, "not_found")


async def test_a_method_that_is_not_there_is_told() -> None:
    answer = await answer_to(ValueError(), method="DELETE")

    refusal(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]
