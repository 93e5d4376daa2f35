"""Keys are at hand at once, renewed one fetch at a time, and used to their end."""

import asyncio

import pytest

from events.words import Unavailable
from services.pool.credentials import AHEAD_S, JITTER_S, LAST_PAUSE_S, REREAD_S, Grant, Renewed

pytestmark = pytest.mark.anyio


class Source:
    """Gives what it has, or says why not; `now` is the time."""

    def __init__(self, *grants: Grant | Exception) -> None:
        self.grants = list(grants)
        self.now = 100.0
        self.fetched = asyncio.Event()

    async def fetch(self) -> Grant:
        grant = self.grants.pop(0) if len(self.grants) > 1 else self.grants[0]
        self.fetched.set()
        if isinstance(grant, Exception):
            raise grant
        return grant

    def renewed(self, chance: float = 0.0) -> Renewed:
        return Renewed("a token", self.fetch, clock=lambda: self.now, chance=lambda: chance)


AWAY = Unavailable("nobody is there")


async def test_before_the_first_fetch_there_is_none() -> None:
    held = Source(Grant("one")).renewed()
    assert (b"", "a token, which is not there yet") == (held.header(), held.lacking())


async def test_a_secret_is_shown_as_a_bearers() -> None:
    held = Source(Grant(" one\n")).renewed()
    await held.renew()
    assert (b"authorization: Bearer one\r\n", "") == (held.header(), held.lacking())


@pytest.mark.parametrize("chance", [0.0, 1.0])
async def test_a_token_is_renewed_ahead_of_its_end(chance: float) -> None:
    assert 3600 - AHEAD_S - JITTER_S * chance == await Source(Grant("a", 3600)).renewed(chance).renew()


async def test_a_token_of_a_short_life_is_renewed_in_the_middle_of_it() -> None:
    assert 30 == await Source(Grant("a", 60)).renewed().renew()
    assert 1 == await Source(Grant("a", 0.1)).renewed().renew()


async def test_a_secret_without_an_end_is_read_again_and_again() -> None:
    source = Source(Grant("one"), Grant("two"))
    held = source.renewed()
    assert [REREAD_S, REREAD_S] == [await held.renew(), await held.renew()]
    assert b"authorization: Bearer two\r\n" == held.header()


async def test_while_it_cannot_be_renewed_a_token_is_used_to_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Source(Grant("one", 60), AWAY)
    held = source.renewed()
    await held.renew()
    await held.renew()
    source.now += 59
    assert (True, "") == (bool(held.header()), held.lacking())
    source.now += 1
    assert (b"", "a token, which cannot be had here right now") == (held.header(), held.lacking())
    assert "a token cannot be had: nobody is there" in caplog.text


async def test_pauses_grow_between_fetches_that_fail_and_begin_anew() -> None:
    source = Source(*[AWAY] * 8, Grant("one"), AWAY)
    held = source.renewed(chance=1.0)
    assert [1, 2, 4, 8, 16, 30, 30, 30] == [await held.renew() for _ in range(8)]
    assert [REREAD_S, 1] == [await held.renew(), await held.renew()]
    assert LAST_PAUSE_S / 2 == await _after(7, Source(AWAY).renewed(chance=0.0))


async def _after(times: int, held: Renewed) -> float:
    for _ in range(times):
        pause_s = await held.renew()
    return pause_s


@pytest.mark.parametrize("secret", ["", " \n", "two words", "a\r\nx-evil: 1", "schlüssel", "a\x00b"])
def test_what_cannot_be_a_header_is_no_secret(secret: str) -> None:
    with pytest.raises(Unavailable) as told:
        Grant(secret)
    assert "evil" not in str(told.value)


async def test_it_goes_on_for_as_long_as_somebody_holds_it() -> None:
    source = Source(Grant("one", 3600))
    held = source.renewed()
    held.hold()
    held.hold()
    await source.fetched.wait()
    source.fetched.clear()
    held.let_go()
    await asyncio.sleep(0)
    assert not source.fetched.is_set()  # one fetch for both
    held.let_go()
    assert held._task is None
    assert held.header()
    held.hold()
    await source.fetched.wait()
    held.let_go()
