from events.config import Backend, Config, Model, Place
from events.words import Refusal
from functions.routing.policy import choose

CONFIG = Config(
    backends={"pool": Backend(replicas=("http://engine:8000",))},
    models={"gemma": Model(backend="pool", served_as="gemma3:4b"), "plain": Model(backend="pool")},
)


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
