from datetime import UTC, datetime, timedelta

import pytest

from functions.caching.generations import MOST, Generations, Scope, entry_id, is_since, purged, told

AT = datetime(2027, 3, 1, tzinfo=UTC)


def name(generations: Generations, tenant: str = "acme", model: str = "gemma", key: str = "ab") -> str:
    return entry_id(key, tenant, model, generations)


@pytest.mark.parametrize(("scope", "what"), [("tenant", "acme"), ("model", "gemma"), ("key", "ab")])
def test_a_purge_renames_what_it_is_about_and_nothing_else(scope: Scope, what: str) -> None:
    before = purged(Generations(), "tenant", "somebody", AT)
    once = purged(before, scope, what, AT)
    twice = purged(once, scope, what, AT)

    assert 3 == len({name(before), name(once), name(twice)})
    assert name(before, "b", "c", "d") == name(twice, "b", "c", "d")


def test_a_tenant_is_no_model_of_that_name() -> None:
    assert name(Generations()) == name(purged(Generations(), "model", "acme", AT))


def test_more_purges_than_are_remembered_purge_everything() -> None:
    generations = Generations()
    for number in range(MOST):
        generations = purged(generations, "key", f"{number}", AT)
    before = name(generations)
    assert MOST == len(generations.named)
    generations = purged(generations, "key", "one more", AT)

    assert {} == generations.named
    assert before != name(generations)
    assert name(Generations()) != name(generations)


def test_every_change_is_one_to_look_at() -> None:
    generations = told(purged(Generations(), "tenant", "acme", AT))

    assert 2 == generations.changes
    assert AT == generations.purged_at


def test_what_was_asked_before_a_purge_is_told_from_what_came_after() -> None:
    generations = purged(Generations(), "tenant", "acme", AT)

    assert is_since(Generations(), AT)
    assert not is_since(generations, AT + timedelta(seconds=2))
    assert is_since(generations, AT + timedelta(seconds=3))
