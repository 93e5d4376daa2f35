"""Which place a request goes to, and why it goes nowhere."""

from collections import Counter
from typing import Any

import pytest

from events.config import Backend, Candidate, Config, Model, Needs, Place
from events.words import Refusal
from functions.routing.policy import Ask, Choice, candidates, choose

POOL = Backend(replicas=("http://engine:8000",))
OUTSIDE = Backend(url="https://host/v1")
BACKENDS = {"pool": POOL, "spare": POOL, "outside": OUTSIDE}
CONFIG = Config(
    backends={"pool": POOL},
    models={"gemma": Model(backend="pool", served_as="gemma3:4b"), "plain": Model(backend="pool")},
)


def config(models: dict[str, Model], **more: Any) -> Config:
    return Config(backends=BACKENDS, models=models, **more)


def order(found: Choice | Refusal) -> list[tuple[str, str]]:
    assert isinstance(found, Choice), found
    return [(place.model, place.backend) for place in found.places]


def refused(found: object) -> tuple[int, str | None, str]:
    assert isinstance(found, Refusal), found
    return found.status, found.problem.code, found.problem.message


def test_a_model_goes_to_its_backend_under_the_name_it_has_there() -> None:
    assert Place(model="gemma", backend="pool", served_as="gemma3:4b") == choose("gemma", CONFIG)
    assert Place(model="plain", backend="pool", served_as="plain") == choose("plain", CONFIG)


def test_a_model_that_is_gone_is_refused_by_name() -> None:
    verdict = choose("gpt-9", CONFIG)
    assert isinstance(verdict, Refusal)
    assert (404, "model", "model_not_found") == (
        verdict.status,
        verdict.problem.param,
        verdict.problem.code,
    )
    assert "gpt-9" in verdict.problem.message


# --- what rules a place out

ALL = Needs(vision=True, tools=True, json_schema=True, tokens=90)


@pytest.mark.parametrize(
    ("row", "code", "told"),
    [
        ({"vision": False}, "unsupported_by_model", "The model m does not take images."),
        ({"tools": False}, "unsupported_by_model", "The model m does not call tools."),
        ({"json_schema": False}, "unsupported_by_model", "The model m does not answer by a JSON Schema."),
        ({"context": 50, "vision": False}, "context_length_exceeded", "has about 90 tokens"),
    ],
)
def test_a_model_that_cannot_do_what_is_needed_is_refused(row: dict[str, Any], code: str, told: str) -> None:
    found = config({"m": Model(backend="pool", fallback=("n",), **row), "n": Model(backend="pool", **row)})
    status, said, message = refused(choose("m", found, Ask(needs=ALL)))

    assert (400, code) == (status, said)
    assert told in message
    assert isinstance(choose("m", found), Place)


def test_what_is_not_told_of_a_model_is_for_the_engine_to_judge() -> None:
    found = config({"m": Model(backend="pool", fallback=("n",)), "n": Model(backend="spare", vision=True)})
    assert [("m", "pool"), ("n", "spare")] == order(candidates("m", found, Ask(needs=ALL)))


def test_prompts_leave_only_where_that_was_allowed() -> None:
    found = config({"far": Model(backend="outside"), "m": Model(backend="outside", fallback=("near",)),
                    "near": Model(backend="pool")})  # fmt: skip
    status, code, message = refused(choose("far", found))

    assert (403, "hosted_not_allowed") == (status, code)
    assert "tenants set TENANT --may-leave on" in message
    assert [("m", "outside"), ("near", "pool")] == order(candidates("m", found, Ask(may_leave=True)))
    stays = candidates("m", found)
    assert [("near", "pool")] == order(stays)
    assert isinstance(stays, Choice)
    assert [("outside", "may_leave")] == [(one.place.backend, one.reason) for one in stays.dropped]


def test_what_is_not_here_is_told_by_name() -> None:
    found = config({"m": Model(backend="outside"), "n": Model(backend="outside", fallback=("o",)),
                    "o": Model(backend="pool")})  # fmt: skip
    lacking, ask = {"outside": "GEMINI_API_KEY, which is not set here"}, Ask(may_leave=True)
    refusal = choose("m", found, ask, lacking)

    assert (503, "model_unavailable", "The model m needs GEMINI_API_KEY, which is not set here.") == refused(
        refusal
    )
    assert isinstance(refusal, Refusal)
    assert ("server_error", 60) == (refusal.problem.type, refusal.retry_after_s)
    assert [("o", "pool")] == order(candidates("n", found, ask, lacking))


def test_of_several_reasons_that_which_came_furthest_decides_and_all_are_told() -> None:
    models = {
        "a": Model(backend="pool", vision=False, fallback=("b", "c")),
        "b": Model(backend="outside", vision=True),
        "c": Model(backend="spare", vision=True),
    }
    ask, lacking = Ask(needs=Needs(vision=True)), {"spare": "luck"}
    status, code, message = refused(choose("a", config(models), ask, lacking))

    assert (503, "model_unavailable") == (status, code)
    assert ["The model c needs luck.", "The model b is"] == [message[:23], message[24:38]]
    assert message.endswith("The model a does not take images.")


# --- weights


def shares(found: Config, name: str, among: int = 4000) -> Counter[str]:
    firsts = (choose(name, found, Ask(seed=str(seed), may_leave=True)) for seed in range(among))
    return Counter(place.backend for place in firsts if isinstance(place, Place))


def weighted(**weights: float) -> Config:
    return config(
        {"m": Model(backends=tuple(Candidate(backend=name, weight=w) for name, w in weights.items()))}
    )


def test_each_backend_gets_its_share() -> None:
    counted = shares(weighted(pool=3, spare=1), "m")

    assert 2800 < counted["pool"] < 3200
    assert 4000 == counted["pool"] + counted["spare"]


def test_the_same_seed_leads_to_the_same_order() -> None:
    found = weighted(pool=1, spare=1, outside=1)
    for seed in map(str, range(50)):
        ask = Ask(seed=seed, may_leave=True)
        assert order(candidates("m", found, ask)) == order(candidates("m", found, ask))


def test_where_a_backend_goes_only_its_own_seeds_move() -> None:
    with_all, without = weighted(pool=2, spare=1, outside=1), weighted(pool=2, spare=1)
    for seed in map(str, range(200)):
        ask = Ask(seed=seed, may_leave=True)
        whole = order(candidates("m", with_all, ask))
        assert [one for one in whole if one[1] != "outside"] == order(candidates("m", without, ask))


def test_a_backend_without_weight_is_the_last() -> None:
    found = weighted(spare=0, pool=0.001)
    assert {"pool": 500} == shares(found, "m", 500)
    assert [("m", "pool"), ("m", "spare")] == order(candidates("m", found, Ask(seed="x")))


def test_a_task_is_shared_by_its_models() -> None:
    models = {
        "a": Model(backend="pool", tasks=("code",), weight=1),
        "b": Model(backend="spare", tasks=("code",), weight=0, fallback=("c",)),
        "c": Model(backend="outside"),
    }
    found = candidates("task:code", config(models), Ask(may_leave=True, seed="1"))
    assert [("a", "pool"), ("b", "spare"), ("c", "outside")] == order(found)


def test_of_a_plain_model_the_decision_was_made_before() -> None:
    found = config({"m": Model(backend="pool"), "n": Model(backend="pool")})

    assert choose("m", found) is found.plans["m"].plain
    assert choose("n", found, Ask(needs=ALL, seed="1")) is found.plans["n"].plain
