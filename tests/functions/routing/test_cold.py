"""What becomes of a request while no engine can be reached, and how long that may last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.config import Model
from functions.routing.cold import (
    LONGEST_S,
    WISHES,
    Boots,
    Spell,
    cold_refusal,
    learned,
    left_s,
    wish_for,
    wish_of,
)

SECONDS = st.floats(0, 1e9)


@given(st.floats(0, LONGEST_S), SECONDS)
def test_what_is_left_is_a_number_of_whole_seconds_a_client_can_wait(boot_s: float, elapsed_s: float) -> None:
    left = left_s(boot_s, elapsed_s)

    assert 1 <= left <= LONGEST_S
    if elapsed_s < boot_s:
        assert boot_s - elapsed_s <= left < boot_s - elapsed_s + 2


@pytest.mark.parametrize(("elapsed_s", "left"), [(0, 150), (149.5, 1), (150, 15), (1e9, 15)])
def test_what_is_overdue_is_asked_for_again_after_a_while(elapsed_s: float, left: int) -> None:
    assert left == left_s(150, elapsed_s)


@given(st.text())
def test_a_wish_is_one_of_four_or_none(text: str) -> None:
    assert wish_of(text) in (*WISHES, None)
    assert all(wish == wish_of(f" {wish.upper()}\t") for wish in WISHES)


@pytest.mark.parametrize(
    ("model", "usual", "wish"),
    [
        (Model(backend="p"), "fail", "fail"),
        (Model(backend="p"), "hold", "hold"),
        (Model(backend="p", cold="hold"), "fail", "hold"),
        (Model(backend="p", fallback=("o",)), "fail", "fallback"),
        (Model(backend="p", fallback=("o",), cold="fail"), "hold", "fail"),
        (None, "fail", "fallback"),  # a task of several models
    ],
)
def test_what_holds_for_who_wishes_nothing(model: Model | None, usual: str, wish: str) -> None:
    assert wish == wish_for(model, usual)  # type: ignore[arg-type]


@given(SECONDS, SECONDS, SECONDS)
def test_what_is_learned_lies_between_what_was_known_and_what_was_seen(
    mean_s: float, since: float, lasted_s: float
) -> None:
    now = since + lasted_s
    boots = learned(Boots(mean_s=mean_s), Spell(since=since, seen=now), now)

    assert boots is not None
    assert 2 == boots.count
    assert min(mean_s, now - since) - 1e-6 <= boots.mean_s <= max(mean_s, now - since) * (1 + 1e-9) + 1e-6


def test_an_end_that_was_seen_late_teaches_nothing() -> None:
    known = Boots(mean_s=40)

    assert known is learned(known, Spell(since=0, seen=100), 200)
    assert learned(None, Spell(since=0, seen=100), 200) is None
    assert Boots(mean_s=104) == learned(None, Spell(since=0, seen=100), 104)


def test_the_refusal_says_when_to_come_back_and_what_else_can_be_done() -> None:
    refusal = cold_refusal("m", 42)

    assert (503, 42, "engine_unavailable") == (refusal.status, refusal.retry_after_s, refusal.problem.code)
    assert "42 s" in refusal.problem.message
