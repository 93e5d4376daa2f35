"""How keys look, and how they are told from random strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.credentials import ADMIN_PREFIX, ALPHABET, digest, mint, public_id, well_formed


def test_a_minted_key_is_well_formed_and_never_the_same() -> None:
    keys = {mint() for _ in range(100)}

    assert 100 == len(keys)
    assert all(well_formed(key) and key.isascii() and 53 == len(key) for key in keys)


def test_an_admin_key_is_not_an_api_key() -> None:
    assert well_formed(mint(ADMIN_PREFIX), ADMIN_PREFIX)
    assert not well_formed(mint(ADMIN_PREFIX))


@given(st.integers(0, 52), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    key = mint()
    typo = key[:place] + character + key[place + 1 :]

    assert well_formed(typo) == (typo == key)


@given(st.integers(4, 51))
def test_two_swapped_characters_are_noticed(place: int) -> None:
    key = mint()
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]

    assert well_formed(swapped) == (swapped == key)


@given(st.text())
def test_no_text_is_a_key_by_chance(text: str) -> None:
    assert not well_formed(text)
    assert not well_formed("psk_" + text)


@pytest.mark.parametrize(
    "key",
    ["", "psk_", "psk_" + "0" * 49, "PSK_" + mint()[4:], mint() + "0", mint()[:-1]],
    ids=["nothing", "a prefix", "zeros", "shouted", "one more", "one less"],
)
def test_near_misses_are_none(key: str) -> None:
    assert not well_formed(key)


def test_a_keys_public_name_does_not_tell_the_key() -> None:
    key = mint()

    assert f"key_{digest(key)[:12]}" == public_id(key)
    assert key not in digest(key)
