"""Which of several backends comes first, where it is not by weight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.config import Backend, Candidate, Config, Cost, Model, Needs, Preference
from functions.routing.policy import Ask, Choice, candidates, price

NAMES = ("a", "b", "c")
BACKENDS = {name: Backend(replicas=(f"http://{name}:1",)) for name in NAMES}


def config(prefer: Preference, *of: Candidate) -> Config:
    return Config(backends=BACKENDS, models={"m": Model(backends=of, prefer=prefer)})


def order(config: Config, ask: Ask) -> list[str]:
    choice = candidates("m", config, ask)
    assert isinstance(choice, Choice)
    return [place.backend for place in choice.places]


def priced(name: str, input: float, output: float, weight: float = 1.0) -> Candidate:
    return Candidate(backend=name, weight=weight, cost=Cost(input=input, output=output))


@pytest.mark.parametrize(
    ("tokens", "first"), [(10, "b"), (100_000, "a")], ids=["a long answer", "a long prompt"]
)
def test_the_cheapest_for_this_prompt_comes_first(tokens: int, first: str) -> None:
    found = config("cost", priced("a", 0.1, 5.0), priced("b", 0.3, 0.5))

    assert first == order(found, Ask(needs=Needs(tokens=tokens)))[0]


def test_what_has_no_cost_is_free_and_what_has_no_weight_is_last() -> None:
    found = config("cost", priced("a", 1, 1), Candidate(backend="b"), priced("c", 0, 0, weight=0))

    assert ["b", "a", "c"] == order(found, Ask())


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(0.001, 100)), st.text(max_size=5))
def test_the_soonest_comes_first_and_the_unknown_is_tried(waits: dict[str, float], seed: str) -> None:
    found = config("latency", *(Candidate(backend=name) for name in NAMES))
    got = order(found, Ask(waits=waits, seed=seed))

    assert [waits.get(name, 0.0) for name in got] == sorted(waits.get(name, 0.0) for name in NAMES)


@given(st.text(max_size=5))
def test_equals_are_ordered_by_weight(seed: str) -> None:
    of = [Candidate(backend=name) for name in NAMES]
    by_weight = order(config("weight", *of), Ask(seed=seed))

    assert by_weight == order(config("cost", *of), Ask(seed=seed))
    assert by_weight == order(config("latency", *of), Ask(seed=seed))


def test_the_models_of_a_task_have_to_agree() -> None:
    def task(other: Preference) -> Config:
        models = {
            "x": Model(backend="a", tasks=("t",), prefer="cost"),
            "y": Model(backend="b", tasks=("t",), prefer=other, fallback=("z",)),
            "z": Model(backend="c"),
        }
        return Config(backends=BACKENDS, models=models)

    assert ("cost", "weight") == task("cost").plans["task:t"].prefers
    assert ("weight", "weight") == task("latency").plans["task:t"].prefers


def test_a_price_is_told_in_millionths() -> None:
    (place,) = config("cost", priced("a", 2.0, 10.0)).plans["m"].places

    assert 2.0 * 1000 + 10.0 * 256 == price(place, 1000)
