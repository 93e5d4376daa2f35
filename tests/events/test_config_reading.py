"""What a configuration document may say, and the sentence each mistake is told by."""

from typing import Any

import pytest

from events.config import Backend, Candidate, Deadlines, Place, Secret
from events.config_reading import Unfit, read

GEMINI = {"kind": "gemini", "url": "https://host/v1beta/openai", "api_key": {"env": "GEMINI_API_KEY"}}


def document(
    models: dict[str, Any] | None = None, backends: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A document with a pool and Gemini."""
    places = {"pool": {"replicas": ["http://10.0.0.5:8000"]}, "gemini": GEMINI}
    return {
        "backends": places | (backends or {}),
        "models": models if models is not None else {"gemma": {"backend": "pool"}},
    } | more


def mistakes(wrong: object) -> list[str]:
    with pytest.raises(Unfit) as told:
        read(wrong)
    assert str(told.value) == " ".join(told.value.mistakes)
    return told.value.mistakes


def test_a_hosted_backend_is_an_endpoint_and_where_its_key_lies() -> None:
    gemini = read(document()).backends["gemini"]

    assert Secret(env="GEMINI_API_KEY") == gemini.api_key
    assert gemini.leaves
    assert (
        not read(document(backends={"near": {"url": "https://near/v1", "hosted": False}}))
        .backends["near"]
        .leaves
    )
    assert not Backend(replicas=("http://a:1",)).leaves
    assert Backend(replicas=("http://a:1",), hosted=True).leaves


def test_a_model_has_its_own_pace() -> None:
    paced = {"backend": "pool", "batch_size": 16, "concurrency": 100, "deadlines": {"first_byte_s": 5}}
    gemma = read(document({"gemma": paced})).models["gemma"]

    assert (16, 100, Deadlines(first_byte_s=5.0)) == (gemma.batch_size, gemma.concurrency, gemma.deadlines)


URL = "backends.b.url is not an address like https://host/v1"
WRONG_BACKENDS: dict[str, tuple[dict[str, Any], str]] = {
    "nowhere": ({}, "backends.b.replicas is empty: name at least one base URL, or dns, or the url"),
    "twice": ({"replicas": ["http://a:1"], "dns": "a:1"}, "has replicas and dns: it is reached by one"),
    "too little affinity": (
        {"replicas": ["http://a:1"], "affinity": 0.5},
        "backends.b.affinity is 0.5: it must be 1 to 1000, or 0 for none.",
    ),
    "a password": ({"replicas": ["http://u:hush@a:1"]}, "a base URL has no user and no password in it."),
    "dns without a port": ({"dns": "engines"}, "backends.b.dns is 'engines': name a host and a port"),
    "dns with a wrong port": ({"dns": "engines:70000"}, "backends.b.dns is 'engines:70000'"),
    "a plain url": ({"url": "http://far.example/v1"}, URL),
    "a url with a user": ({"url": "https://u:hush@host/v1"}, URL),
    "a url with a question": ({"url": "https://host/v1?key=hush"}, URL),
    "a whole path": ({"url": "https://host/v1/chat/completions"}, URL),
    "no url": ({"url": "https://[hush"}, URL),
    "a key for the pool": (
        {"replicas": ["http://a:1"], "auth": "google"},
        "b.auth is for the url of a hosted",
    ),
    "two keys": (GEMINI | {"auth": "google"}, "backends.b has api_key and auth: leave one of them out."),
    "no key": ({"kind": "gemini", "url": "https://h/v1"}, "b needs api_key: {env: GEMINI_API_KEY}, or auth"),
    "gemini in the pool": (
        {"kind": "gemini", "replicas": ["http://a:1"]},
        "gemini, which is reached by a url",
    ),
    "a key nowhere": ({"url": "https://h/v1", "api_key": {}}, "by one of {env: NAME} and {file: PATH}."),
    "a key twice": (
        {"url": "https://h/v1", "api_key": {"env": "A", "file": "/b"}},
        "says where the key lies",
    ),
    "a value as the name": (
        {"url": "https://h/v1", "api_key": {"env": "hush-1"}},
        "api_key.env is not the name",
    ),
    "a relative file": (
        {"url": "https://h/v1", "api_key": {"file": "hush"}},
        "is not the whole path of a file",
    ),
    "a literal key": (
        {"url": "https://h/v1", "api_key": "hush"},
        "api_key holds a value. Secrets never stand",
    ),
    "a literal auth": ({"url": "https://h/v1", "auth": "hush"}, "backends.b.auth may only be google"),
    "an unknown field": (
        {"replica": ["http://a:1"]},
        "backends.b.replica is no field of a configuration document: did you mean replicas?",
    ),
    "an unknown kind": ({"url": "https://h/v1", "kind": "other"}, "backends.b.kind is not right"),
}


@pytest.mark.parametrize(("wrong", "told"), WRONG_BACKENDS.values(), ids=WRONG_BACKENDS)
def test_a_backend_that_cannot_be_is_told(wrong: dict[str, Any], told: str) -> None:
    said = " ".join(mistakes(document(backends={"b": wrong})))

    assert told in said
    assert said.endswith((".", "?"))
    assert "hush" not in said


TWO = [{"backend": "pool"}, {"backend": "gemini"}]
WRONG_MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "nowhere": ({}, "models.m needs one of backend: NAME and, for several with weights, backends."),
    "both": ({"backend": "pool", "backends": TWO}, "models.m needs one of backend"),
    "misspelt": (
        {"backend": "pol"},
        "models.m.backend names 'pol', which is not under backends; did you mean 'pool'?",
    ),
    "one twice": ({"backends": [TWO[0], TWO[0]]}, "models.m.backends names a backend twice"),
    "one name for several": (
        {"backends": TWO, "served_as": "x"},
        "models.m.served_as is for a single backend",
    ),
    "no weight": (
        {"backends": [{"backend": "pool", "weight": -1}]},
        "backends: weight is -1: it must be 0 to",
    ),
    "no number": ({"backend": "pool", "weight": float("nan")}, "models.m.weight is nan: it must be 0 to"),
    "no calls": ({"backend": "pool", "concurrency": 0}, "m.concurrency is 0: it must be 1 to 100000 calls."),
    "no batch": (
        {"backend": "pool", "batch_size": 0},
        "models.m.batch_size is 0: it must be 1 to 4096 calls.",
    ),
    "one cost for several": ({"backends": TWO, "cost": {}}, "models.m.cost is for a single backend"),
    "money back": (
        {"backend": "pool", "cost": {"output": -1}},
        "models.m.backend: cost.output is -1: it must be 0 to",
    ),
    "a preference nobody has": ({"backend": "pool", "prefer": "best"}, "models.m.prefer is not right"),
    "a queue nobody asked for": ({"backend": "pool", "cold": "queue"}, "models.m.cold is not right"),
    "no time": (
        {"backend": "pool", "deadlines": {"idle_s": 0}},
        "m.deadlines.idle_s is 0: it must be 0.1 to",
    ),
    "a deadline of another name": (
        {"backend": "pool", "deadlines": {"idle": 1}},
        "models.m.deadlines.idle is no field of a configuration document: did you mean idle_s?",
    ),
    "a task in capitals": ({"backend": "pool", "tasks": ["Code"]}, "models.m.tasks: 'Code' is not 1 to 40"),
    "a fallback nobody knows": (
        {"backend": "pool", "fallback": ["gema"]},
        "m.fallback names 'gema', which is no model; did you mean 'gemma'?",
    ),
    "text for a number": ({"backend": "pool", "context": "big"}, "models.m.context is not right: Expected"),
    "a flag in words": ({"backend": "pool", "vision": "yes"}, "models.m.vision is not right"),
}


@pytest.mark.parametrize(("wrong", "told"), WRONG_MODELS.values(), ids=WRONG_MODELS)
def test_a_model_that_cannot_be_is_told(wrong: dict[str, Any], told: str) -> None:
    assert told in " ".join(mistakes(document({"gemma": {"backend": "pool"}, "m": wrong})))


def test_all_mistakes_are_told_at_once() -> None:
    said = mistakes(document({"a": {"backend": "x"}, "b": {"backend": "pool", "batch_size": 0}}))

    assert ["models.a", "models.b"] == [one[:8] for one in said]


WRONG_ALIASES = {
    "nobody": ({"fast": "gema"}, "aliases.fast names 'gema', which is no model; did you mean 'gemma'?"),
    "a model": ({"gemma": "llama"}, "aliases.gemma is the name of a model as well"),
    "a task": ({"task:code": "gemma"}, "aliases.task:code begins with task:"),
    "nothing": ({"": "gemma"}, "aliases has '': a name is 1 to 200 printable characters."),
    "a header": ({"a\r\nb": "gemma"}, "aliases has 'a\\r\\nb'"),
    "itself": ({"a": "a"}, "aliases go in a circle (a -> a)"),
    "a circle": ({"a": "b", "b": "c", "c": "b"}, "aliases go in a circle (b -> c -> b)"),
}


@pytest.mark.parametrize(("aliases", "told"), WRONG_ALIASES.values(), ids=WRONG_ALIASES)
def test_an_alias_that_leads_nowhere_is_told(aliases: dict[str, str], told: str) -> None:
    models = {"gemma": {"backend": "pool"}, "llama": {"backend": "pool"}}
    assert told in " ".join(mistakes(document(models, aliases=aliases)))


@pytest.mark.parametrize("through", ["a", "other"])
def test_a_fallback_never_leads_back(through: str) -> None:
    models = {
        "a": {"backend": "pool", "fallback": ["b"]},
        "b": {"backend": "pool", "fallback": [through]},
    }
    (said,) = mistakes(document(models, aliases={"other": "a"}))
    assert "fallback goes in a circle (a -> b -> a)" in said


def chain(steps: int) -> dict[str, Any]:
    models = {f"m{n}": {"backend": "pool", "fallback": [f"m{n + 1}"]} for n in range(steps)}
    return models | {f"m{steps}": {"backend": "pool"}}


def test_a_chain_of_fallbacks_has_an_end() -> None:
    assert 17 == len(read(document(chain(16))).plans["m0"].tiers)
    (said,) = mistakes(document(chain(17)))
    assert "models.m0.fallback leads on to more than 16 models: 16 are the most." == said
    assert 2984 == len(mistakes(document(chain(3000))))


@pytest.mark.parametrize(
    "wrong", [{"backends": []}, {"models": ["gemma"]}, {"aliases": {"a": 5}}, {"version": "x"}]
)
def test_sections_of_another_shape_are_told(wrong: dict[str, Any]) -> None:
    assert mistakes(document() | wrong)


# --- where names lead


def place(model: str, backend: str = "pool", served_as: str = "", weight: float = 1.0) -> Place:
    return Place(model=model, backend=backend, served_as=served_as or model, weight=weight)


def test_a_model_of_one_backend_of_the_pool_is_plain() -> None:
    plans = read(
        document({"gemma": {"backend": "pool", "served_as": "g"}}, aliases={"a": "b", "b": "gemma"})
    ).plans

    assert place("gemma", served_as="g") == plans["gemma"].plain == plans["a"].plain == plans["b"].plain
    assert {"gemma", "a", "b"} == set(plans)


@pytest.mark.parametrize(
    "row",
    [
        {"backend": "gemini"},
        {"backend": "named"},
        {"backend": "pool", "vision": False},
        {"backend": "pool", "fallback": ["gemma"]},
        {"backends": TWO},
    ],
)
def test_a_model_about_which_something_decides_is_not_plain(row: dict[str, Any]) -> None:
    models = {"m": row, "gemma": {"backend": "pool"}}
    assert read(document(models, {"named": {"dns": "engines:8000"}})).plans["m"].plain is None


def test_fallbacks_follow_each_in_its_tier_and_once() -> None:
    models = {
        "a": {"backends": TWO, "fallback": ["b", "other"]},
        "b": {"backend": "pool", "fallback": ["c"]},
        "c": {"backend": "gemini"},
    }
    plan = read(document(models, aliases={"other": "c"})).plans["a"]

    assert ((place("a"), place("a", "gemini")), (place("b"),), (place("c", "gemini"),)) == plan.tiers
    assert "a" == plan.model


def test_a_task_leads_to_its_models_by_their_weights() -> None:
    models = {
        "a": {"backends": TWO, "tasks": ["code"], "weight": 3, "fallback": ["c"]},
        "b": {"backend": "pool", "tasks": ["code", "chat"]},
        "c": {"backend": "pool"},
    }
    plans = read(document(models)).plans
    first, second = plans["task:code"].tiers

    assert [place("a", weight=1.5), place("a", "gemini", weight=1.5), place("b")] == list(first)
    assert (place("c"),) == second
    assert plans["task:code"].model is None
    assert place("b") == plans["task:chat"].plain


@pytest.mark.parametrize(("other", "most"), [(100, 100), (9000, 9000), (None, None)])
def test_a_name_takes_what_the_largest_of_its_models_takes(other: int | None, most: int | None) -> None:
    models = {
        "a": {"backend": "pool", "context": 100, "fallback": ["b"]},
        "b": {"backend": "pool", "context": other},
    }
    assert most == read(document(models)).plans["a"].context


def test_a_candidate_may_have_a_name_of_its_own() -> None:
    two = [{"backend": "pool", "served_as": "g:4b"}, {"backend": "gemini", "weight": 0}]
    config = read(document({"gemma": {"backends": two}}))

    assert place("gemma", served_as="g:4b") == config.place("gemma", "pool")
    assert Candidate(backend="gemini", weight=0.0) == config.models["gemma"].candidates[1]
    assert place("gemma", "gemini") == config.place("gemma", "gemini")
