"""`penstock advise` against a running platform."""

import asyncio

import pytest

from tests.services.cli.conftest import Command
from tests.support.platform import Running, eventually

pytestmark = pytest.mark.anyio


async def advised(platform: Running) -> None:
    """The job has judged."""
    await platform.admin("POST", "/jobs/advise/run")

    async def there() -> bool:
        return bool((await platform.admin("GET", "/advice"))["data"])

    await eventually(there)


async def test_before_the_first_report_there_is_no_advice(platform: Running, command: Command) -> None:
    shown = await command("advise")
    if not (await platform.admin("GET", "/advice"))["data"]:  # a minute may just have begun
        assert "No advice yet: it follows the first report, ten seconds after the start.\n" == shown.out


@pytest.mark.slow
async def test_advice_is_shown_with_the_sentence_that_explains_it(
    platform: Running, command: Command
) -> None:
    await advised(platform)
    shown = await command("advise")
    (row,) = (await command("advise", "--json")).json

    assert ["BACKEND", "NOW", "WANTED", "MIN", "MAX", "ADVISED", "(UTC)"] == shown.out.splitlines()[0].split()
    assert ["rehearsal", "1", "1", "1", "5"] == shown.out.splitlines()[1].split()[:5]
    assert "\nrehearsal: 1 replica" in shown.out
    assert ("rehearsal", 1, 1) == (row["backend"], row["wanted"], row["now"])
    assert str(row["reason"]).startswith("1 replica")


@pytest.mark.slow
async def test_advice_can_be_watched(platform: Running, command: Command) -> None:
    await advised(platform)
    people = await command("advise", "--watch", "--count", "1")
    scripts = await command("advise", "--watch", "--count", "1", "--json")

    assert " rehearsal 1 → 1  1 replica" in people.out
    assert ("rehearsal", 1) == (scripts.json["backend"], scripts.json["wanted"])


@pytest.mark.slow
async def test_what_is_advised_later_is_watched_too(platform: Running, command: Command) -> None:
    watching = asyncio.create_task(command("advise", "--watch", "--count", "1", "--json"))
    await asyncio.sleep(1.5)  # until it watches, most likely; else it tells what is the latest by then
    await advised(platform)

    assert "rehearsal" == (await watching).json["backend"]
