"""Any input, and any piece of good and bad ones put together: no target breaks its rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.seeds import HTTP, SEEDS, UNCUT
from tests.fuzz.targets import TARGETS


def test_every_target_has_seeds() -> None:
    assert TARGETS.keys() == SEEDS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_keeps_its_targets_rule(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_damaged_seeds_keep_it_too(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS[name]))
    at = data.draw(st.integers(0, len(seed)))
    over = data.draw(st.integers(0, 8))
    TARGETS[name](seed[:at] + data.draw(st.binary(max_size=8)) + seed[at + over :])


@given(
    cuts=st.binary(min_size=16, max_size=16), words=st.lists(st.sampled_from(HTTP) | st.binary(max_size=3))
)
def test_any_words_of_http_are_read_alike_however_they_are_cut(cuts: bytes, words: list[bytes]) -> None:
    TARGETS["front"](cuts + b"".join(words))


@given(
    first=st.sampled_from(SEEDS["front"]), second=st.sampled_from(SEEDS["front"]), cuts=st.binary(max_size=16)
)
def test_requests_behind_each_other_are_read_alike_however_they_are_cut(
    first: bytes, second: bytes, cuts: bytes
) -> None:
    TARGETS["front"](cuts.ljust(16, b"\0") + first[len(UNCUT) :] + second[len(UNCUT) :])
