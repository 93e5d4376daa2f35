"""What operators see of dead letters, and how they have them delivered again."""

from collections.abc import AsyncIterator

import pytest

from tests.services.router.refusing import refusal
from tests.support import client
from tests.support.operating import READER, Operated, operated

pytestmark = pytest.mark.anyio


@pytest.fixture
async def operators() -> AsyncIterator[Operated]:
    async with operated() as made:
        yield made


async def test_a_dead_letter_is_shown_with_its_reason_and_without_what_it_carries(
    operators: Operated,
) -> None:
    message = await operators.buries("req_1", b"The prompt.", "not JSON")
    answer = await operators.admin("GET", "/dead-letters")
    (shown,) = answer.json["data"]

    assert (200, READER.name, "not JSON", 1) == (
        answer.status,
        shown["subscription"],
        shown["reason"],
        shown["attempts"],
    )
    assert ("penstock.inference.routed.v1", "req_1", "acme", "e1", len(b"The prompt.")) == tuple(
        shown[name] for name in ("type", "subject", "tenant", "message_id", "bytes")
    )
    assert message.id != shown["id"]
    assert b"The prompt." not in answer.body


async def test_the_newest_come_first_and_at_most_as_many_as_asked_for(operators: Operated) -> None:
    for subject in ("one", "two", "three"):
        await operators.buries(subject, b"", "bad")
    shown = (await operators.admin("GET", "/dead-letters?limit=2")).json["data"]

    assert ["three", "two"] == [letter["subject"] for letter in shown]
    assert [] == (await operators.admin("GET", "/dead-letters?limit=1000")).json["data"][3:]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1.5", "%D9%A1", "9" * 5000])
async def test_a_limit_that_is_none_is_refused(operators: Operated, limit: str) -> None:
    answer = await operators.admin("GET", f"/dead-letters?limit={limit}")

    assert "from 1 to 1000" in refusal(answer, 400, "invalid_request")


async def test_a_dead_letter_is_delivered_again_once(operators: Operated) -> None:
    message = await operators.buries("req_1", b"data", "too early")
    (shown,) = (await operators.admin("GET", "/dead-letters")).json["data"]
    path = f"/dead-letters/{shown['id']}/replay"

    answer = await operators.admin("POST", path)
    assert (202, {"id": shown["id"]}) == (answer.status, answer.json)
    assert [message] == await operators.bus.receive(READER.name, 10)
    assert [] == (await operators.admin("GET", "/dead-letters")).json["data"]
    refusal(await operators.admin("POST", path), 404, "dead_letter_not_found")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/a/replay")])
async def test_they_are_for_operators_only(operators: Operated, method: str, path: str) -> None:
    answer = await client.ask(operators.port, method, f"/admin/v1/dead-letters{path}")

    refusal(answer, 401, "invalid_admin_key")
