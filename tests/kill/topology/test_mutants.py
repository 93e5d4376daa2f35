"""The oracle notices: a promise broken on purpose is found when a message comes again."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kill.test_mutants import mutated
from tests.kill.topology.campaign import heard_again
from tests.kill.topology.oracle import Whole, all_violations
from tests.kill.topology.rig import set_up

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A promise broken by one edit of a file's text, and the check that finds it."""

    name: str
    file: str
    text: str
    instead: str
    found_by: str


RANDOM = '__import__("secrets").token_hex(16)'
MUTANTS = (
    Mutant(
        name="no dedupe",
        file="functions/request/handler.py",
        text='hashed_id((received.tenant, "ingest", received.idempotency_key or received.message_id))',
        instead=RANDOM,
        found_by="each_message_is_one_request",
    ),
    Mutant(
        name="random emitted ids",
        file="events/envelope.py",
        text="hashed_id((consumed.id, emitted, str(index)))",
        instead=RANDOM,
        found_by="requests_are_announced_once",
    ),
)


async def after_redelivery(folder: Path, code: Path | None) -> Whole:
    """What is known once a message came again whose effect was stored already."""
    async with set_up(folder, SEED, code) as rig:
        await heard_again(rig)
        await rig.load.done()
        return await rig.whole(patient=code is None)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_a_broken_promise_is_found(mutant: Mutant, tmp_path: Path) -> None:
    whole = await after_redelivery(tmp_path, mutated(tmp_path / "code", mutant))
    found = all_violations(whole)
    assert [] != [violation for violation in found if violation.startswith(mutant.found_by)], found


async def test_the_product_itself_keeps_them(tmp_path: Path) -> None:
    whole = await after_redelivery(tmp_path, None)
    assert [] == all_violations(whole)
    assert len(whole.announced) > len(set(whole.announced)), "nothing came again"
