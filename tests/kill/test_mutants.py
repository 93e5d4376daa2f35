"""The oracle notices: each promise broken on purpose in a copy of the product is found by a few kills."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kill.oracle import (
    Check,
    acknowledged_requests_are_answered,
    queued_answers_are_billed_once,
    requests_end_once,
    violations,
)
from tests.kill.rig.phases import lost_leases, mid_ack
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
)


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


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.scenario.__name__)
async def test_the_product_itself_keeps_it(mutant: Mutant, tmp_path: Path) -> None:
    assert [] == await found_after(mutant.scenario, tmp_path, None, SEEDS[0])
