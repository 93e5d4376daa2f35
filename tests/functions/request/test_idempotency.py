from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.words import Refusal
from functions.request.idempotency import LONGEST, KeyedCall, Verdict, fingerprint, judge, named, read_key

NOW = datetime(2027, 3, 1, tzinfo=UTC)
MINE = KeyedCall(
    id="k",
    tenant="acme",
    fingerprint="f",
    owner="me",
    run="run_1",
    lease_until=NOW + timedelta(seconds=30),
    expire_at=NOW + timedelta(days=1),
)
OTHERS = replace(MINE, run="run_0", owner="other")
SECRET = bytes(32)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (MINE, "mine"),
        (OTHERS, "running"),
        (replace(OTHERS, owner="me"), "dead"),
        (replace(OTHERS, lease_until=NOW - timedelta(seconds=1)), "running"),
        (replace(OTHERS, lease_until=NOW - timedelta(seconds=3)), "dead"),
        (replace(OTHERS, fingerprint="g"), "other"),
        (replace(OTHERS, fingerprint="g", state="answered"), "other"),
        (replace(OTHERS, state="answered"), "answered"),
        (replace(OTHERS, state="answered", lease_until=NOW - timedelta(days=9)), "answered"),
        (replace(OTHERS, state="unkept"), "unkept"),
        (replace(OTHERS, state="queued"), "queued"),
    ],
)
def test_what_a_stored_call_means(found: KeyedCall, expected: Verdict) -> None:
    assert expected == judge(found, MINE, NOW, skew_s=2.0, alone=False)


def test_who_is_alone_need_not_wait_for_the_dead() -> None:
    assert "dead" == judge(OTHERS, MINE, NOW, skew_s=2.0, alone=True)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters=","), min_size=1))
def test_any_printable_key_is_taken_as_it_is(text: str) -> None:
    assert text[:LONGEST] == read_key(text[:LONGEST])


@pytest.mark.parametrize("text", ["", "k" * (LONGEST + 1), "a,b", "clé", "a\tb", "a\x7fb"])
def test_any_other_is_refused(text: str) -> None:
    refusal = read_key(text)

    assert isinstance(refusal, Refusal)
    assert (400, "invalid_idempotency_key") == (refusal.status, refusal.problem.code)
    assert refusal.problem.message.endswith(".") or refusal.problem.message.endswith("out.")


def test_names_tell_nothing_and_are_the_tenants_own() -> None:
    names = {named(SECRET, "k"), named(SECRET, "l"), named(b"x" * 32, "k")}

    assert 3 == len(names)
    assert {64} == {len(name) for name in names}


@given(st.binary(), st.binary(), st.binary(), st.binary())
def test_a_fingerprint_is_of_path_and_body(path: bytes, body: bytes, other: bytes, more: bytes) -> None:
    same = (path, body) == (other, more)

    assert same == (fingerprint(SECRET, path, body) == fingerprint(SECRET, other, more))
