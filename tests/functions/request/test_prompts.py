"""Completions and embeddings: which bodies are admitted, and what their prompts are estimated to cost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.config import Backend, Candidate, Config, Model
from events.words import Refusal
from functions.request.admission import Admitted
from functions.request.endpoints import COMPLETIONS, EMBEDDINGS, ENDPOINTS
from functions.request.prompts import sizes_of

CONFIG = Config(
    backends={
        "pool": Backend(replicas=("http://engine:8000",)),
        "other": Backend(replicas=("http://other:8000",)),
    },
    models={
        "gemma": Model(backend="pool"),
        "small": Model(backend="pool", context=100),
        "twice": Model(backends=(Candidate(backend="pool"), Candidate(backend="other"))),
    },
)
FIELDS = {COMPLETIONS: "prompt", EMBEDDINGS: "input"}


def verdict(path: str, prompt: object, **more: Any) -> Admitted | Refusal:
    body = {"model": "gemma", FIELDS[path]: prompt} | more
    return ENDPOINTS[path].admit(json.dumps(body).encode(), CONFIG)


def admitted(path: str, prompt: object, **more: Any) -> Admitted:
    judged = verdict(path, prompt, **more)
    assert isinstance(judged, Admitted), judged
    return judged


def refused(path: str, body: bytes) -> tuple[int, str | None, str | None]:
    judged = ENDPOINTS[path].admit(body, CONFIG)
    assert isinstance(judged, Refusal), judged
    return judged.status, judged.problem.code, judged.problem.param


PROMPTS = {
    "a text": ("x" * 40, [10]),
    "a short text": ("x", [1]),
    "an empty text": ("", [1]),
    "other letters": ("é" * 20, [10]),
    "texts": (["x" * 40, "y" * 20], [10, 5]),
    "ids": ([1, 2, 3], [3]),
    "lists of ids": ([[1, 2, 3], [4]], [3, 1]),
    "an empty list of ids": ([[]], [1]),
}


@pytest.mark.parametrize("path", FIELDS)
@pytest.mark.parametrize(("prompt", "sizes"), PROMPTS.values(), ids=PROMPTS)
def test_every_form_of_a_prompt_is_estimated(path: str, prompt: Any, sizes: list[int]) -> None:
    assert sizes == sizes_of(prompt)
    assert sum(sizes) == admitted(path, prompt).input_estimate


def test_a_completion_says_whether_it_streams_and_wants_its_usage() -> None:
    plain = admitted(COMPLETIONS, "x")
    streamed = admitted(COMPLETIONS, "x", stream=True)
    asking = admitted(COMPLETIONS, "x", stream=True, stream_options={"include_usage": True})

    assert (False, False, False) == (plain.stream, plain.has_stream_options, plain.wants_usage)
    assert (True, False, False) == (streamed.stream, streamed.has_stream_options, streamed.wants_usage)
    assert (True, True, True) == (asking.stream, asking.has_stream_options, asking.wants_usage)


def test_an_embedding_never_streams() -> None:
    assert not admitted(EMBEDDINGS, "x", stream=True).stream


@pytest.mark.parametrize("path", FIELDS)
def test_of_many_prompts_each_has_to_fit_by_itself(path: str) -> None:
    assert admitted(path, ["x" * 400] * 10, model="small")
    judged = verdict(path, ["x", "x" * 4000], model="small")

    assert isinstance(judged, Refusal)
    assert ("context_length_exceeded", FIELDS[path]) == (judged.problem.code, judged.problem.param)
    assert "about 1000 tokens" in judged.problem.message


@pytest.mark.parametrize("path", FIELDS)
def test_where_weights_decide_the_same_prompt_goes_the_same_way(path: str) -> None:
    seeds = [admitted(path, prompt, model="twice").seed for prompt in ("a", "a", "b")]

    assert seeds[0] == seeds[1] != seeds[2]
    assert "" == admitted(path, "a").seed


def bodies(path: str) -> dict[str, tuple[bytes, tuple[int, str, str | None]]]:
    field = FIELDS[path]
    return {
        "no JSON": (b"{", (400, "invalid_json", None)),
        "not UTF-8": (
            b'{"model":"gemma","%b":"x","user":"\xff"}' % field.encode(),
            (400, "invalid_json", None),
        ),
        "no model": (json.dumps({field: "x"}).encode(), (400, "missing_required_parameter", "model")),
        "no prompt": (b'{"model":"gemma"}', (400, "missing_required_parameter", field)),
        "null": (json.dumps({"model": "gemma", field: None}).encode(), (400, "invalid_type", field)),
        "a number": (json.dumps({"model": "gemma", field: 5}).encode(), (400, "invalid_type", field)),
        "no prompts": (json.dumps({"model": "gemma", field: []}).encode(), (400, "empty_array", field)),
        "objects": (
            json.dumps({"model": "gemma", field: [{}]}).encode(),
            (400, "invalid_type", f"{field}[0]"),
        ),
        "another model": (
            json.dumps({"model": "gpt-9", field: "x"}).encode(),
            (404, "model_not_found", "model"),
        ),
    }


@pytest.mark.parametrize("path", FIELDS)
@pytest.mark.parametrize("case", bodies(COMPLETIONS))
def test_what_is_wrong_is_refused_with_its_place(path: str, case: str) -> None:
    body, told = bodies(path)[case]

    assert told == refused(path, body)


def test_a_stream_that_is_no_yes_or_no_is_refused() -> None:
    body = json.dumps({"model": "gemma", "prompt": "x", "stream": "yes"}).encode()

    assert (400, "invalid_type", "stream") == refused(COMPLETIONS, body)


@given(st.sampled_from(sorted(FIELDS)), st.binary())
def test_any_bytes_have_a_verdict(path: str, body: bytes) -> None:
    assert isinstance(ENDPOINTS[path].admit(body, CONFIG), Admitted | Refusal)
