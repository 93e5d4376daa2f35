"""The oracle notices: each promise broken on purpose in a copy of the product is found by a few kills."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kill.facts import Check
from tests.kill.followed import journals_are_one_row, numbers_go_on_by_one
from tests.kill.keyed import keys_are_billed_once, retries_get_the_same_answer
from tests.kill.oracle import (
    acknowledged_requests_are_answered,
    queued_answers_are_billed_once,
    requests_end_once,
    violations,
)
from tests.kill.rig.phases import lost_leases, mid_ack, mid_result
from tests.kill.rig.rig import Rig, set_up
from tests.needs import needs

pytestmark = [pytest.mark.anyio, pytest.mark.slow, needs("strace", "apt install strace")]

ROOT = Path(__file__).parents[2]
PACKAGES = ("events", "functions", "services")
SEEDS = (1, 2, 3)  # a kill may miss its moment

Scenario = Callable[[Rig], Awaitable[None]]


async def dies_while_storing(rig: Rig) -> None:
    """Killed from a published request's acknowledgement to its document."""
    await walk(rig, range(4, 7))


async def dies_while_answering(rig: Rig) -> None:
    """Killed from a queued request's answer to the news of it."""
    await walk(rig, range(16, 20))


async def loses_its_leases(rig: Rig) -> None:
    """Frozen for longer than its leases."""
    await lost_leases(rig)


async def dies_while_keeping(rig: Rig) -> None:
    """Killed from the end of an answer under a key to its bill."""
    for at in range(1, 5):
        await mid_result(rig, at)
        await rig.recover()


async def is_asked_again(rig: Rig) -> None:
    """Not killed: calls with a key are retried."""
    rig.load.retry(streams=2, wholes=2, tokens=5)


async def is_left_and_resumed(rig: Rig) -> None:
    """Not killed: readers hang up, and resume."""
    for _ in range(6):
        rig.load.follow(150, patient=False)


async def walk(rig: Rig, syncs: range) -> None:
    for at in syncs:
        await mid_ack(rig, at)
        await rig.recover()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A promise broken by one edit of a file's text, what brings it to light, and the check that finds it."""

    name: str
    file: str
    text: str
    instead: str
    scenario: Scenario
    found_by: Check


MUTANTS = (
    Mutant(
        name="the fence is off",
        file="services/adapters/sqlite/requests.py",
        text="WHERE id = ? AND version = ?",
        instead="WHERE id = ? AND ? > 0",
        scenario=loses_its_leases,
        found_by=queued_answers_are_billed_once,
    ),
    Mutant(
        name="acknowledged before it is stored",
        file="services/delivery/consumer.py",
        text="done = await asyncio.gather(*map(self._deliver, messages))",
        instead="await self._inbox.ack(self._name, [message.id for message in messages]); "
        "done = await asyncio.gather(*map(self._deliver, messages))",
        scenario=dies_while_storing,
        found_by=acknowledged_requests_are_answered,
    ),
    Mutant(
        name="owed events are kept in memory only",
        file="services/dispatcher/run.py",
        text="await self._hold.write(document)",
        instead="await self._hold.write(replace(document, owed=()))",
        scenario=dies_while_answering,
        found_by=requests_end_once,
    ),
    Mutant(
        name="stored after it was told",
        file="services/router/idempotency/runs.py",
        text="await self._claims.keep(run.claim, ended.result)",
        instead="recording.deliver(); await self._claims.keep(run.claim, ended.result)",
        scenario=dies_while_keeping,
        found_by=retries_get_the_same_answer,
    ),
    Mutant(
        name="billed before it is stored",
        file="services/router/attempt.py",
        text="if billed and self._order.later is not None:",
        instead="if False:",
        scenario=dies_while_keeping,
        found_by=keys_are_billed_once,
    ),
    Mutant(
        name="a key is claimed whoever has it",
        file="services/adapters/sqlite/keyed_calls.py",
        text="if found is not None and now < found.call.expire_at:",
        instead="if False:",
        scenario=is_asked_again,
        found_by=retries_get_the_same_answer,
    ),
    Mutant(
        name="a place in the journal is taken twice",
        file="services/adapters/sqlite/journal.py",
        text="ON CONFLICT DO NOTHING",
        instead="ON CONFLICT (request, place) DO UPDATE SET attempt = excluded.attempt, "
        "first = excluded.first, next = excluded.next, closed = excluded.closed, sealed = excluded.sealed",
        scenario=loses_its_leases,
        found_by=journals_are_one_row,
    ),
    Mutant(
        name="resumed at the event before",
        file="services/router/responses/tail.py",
        text="events[max(0, self._told + 1 - entry.first) :]",
        instead="events[max(0, self._told - entry.first) :]",
        scenario=is_left_and_resumed,
        found_by=numbers_go_on_by_one,
    ),
)


SCENARIOS = tuple(dict.fromkeys(mutant.scenario for mutant in MUTANTS))


def mutated(folder: Path, mutant: Mutant) -> Path:
    """A folder with the product's packages, one of them edited."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)  # where the version of a bare source tree is read
    file = folder / mutant.file
    content = file.read_text()
    assert 1 == content.count(mutant.text), f"{mutant.file} has changed: the edit has no one place"
    file.write_text(content.replace(mutant.text, mutant.instead))
    return folder


async def found_after(scenario: Scenario, folder: Path, code: Path | None, seed: int) -> list[str]:
    async with set_up(folder, seed, code) as under_test:
        await scenario(under_test)
        return violations(await under_test.facts())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_a_broken_promise_is_found(mutant: Mutant, tmp_path: Path) -> None:
    code = mutated(tmp_path / "code", mutant)
    everything: list[str] = []
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = await found_after(mutant.scenario, folder, code, seed)
        if any(violation.startswith(mutant.found_by.__name__) for violation in found):
            return
        everything += found
    pytest.fail(f"nobody noticed; found was only {everything}")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_product_itself_keeps_it(scenario: Scenario, tmp_path: Path) -> None:
    assert [] == await found_after(scenario, tmp_path, None, SEEDS[0])
