"""How a prompt begins: the same in every turn of a conversation, and in others that begin alike."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.config import Backend, Config, Model
from functions.request.admission import Admitted, admit
from functions.request.prefix import READ, of_name, of_text
from functions.request.prompts import admit_completion, admit_embedding

MANY = Config(
    backends={"p": Backend(replicas=("http://a:1", "http://b:1"))}, models={"m": Model(backend="p")}
)
ONE = Config(backends={"p": Backend(replicas=("http://a:1",))}, models={"m": Model(backend="p")})

SAID = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=50)}
)


def says(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def prefix(messages: list[dict[str, Any]], config: Config = MANY, **more: Any) -> int:
    body = {"model": "m", "messages": messages, **more}
    admitted = admit(json.dumps(body).encode(), config)
    assert isinstance(admitted, Admitted)
    return admitted.prefix


@given(st.lists(SAID, max_size=3), st.text(max_size=2000), st.lists(SAID, min_size=1))
def test_every_turn_of_a_conversation_begins_as_its_first(
    before: list[dict[str, Any]], asked: str, further: list[dict[str, Any]]
) -> None:
    first = [*before, says("user", asked)]

    assert 0 != prefix(first) == prefix([*first, says("assistant", "Well."), *further])


def test_conversations_that_begin_otherwise_are_others() -> None:
    asked = [[says("user", text)] for text in ("a", "b", "")]
    asked += [[says("system", "x"), says("user", "a")], [says("user", [{"type": "text", "text": "a"}])]]

    assert 5 == len({prefix(one) for one in asked})


def test_what_differs_behind_a_long_beginning_is_read_anew_anywhere() -> None:
    system = says("system", "x" * READ)

    assert prefix([system, says("user", "a")]) == prefix([system, says("user", "b")])


@pytest.mark.parametrize("name", ["user", "safety_identifier", "prompt_cache_key"])
def test_a_name_decides_instead(name: str) -> None:
    one, other = [says("user", "a")], [says("user", "b")]

    assert prefix(one, **{name: "n"}) == prefix(other, **{name: "n"}) != prefix(one, **{name: "o"})


def test_of_several_names_the_key_of_the_cache_decides() -> None:
    asked = [says("user", "a")]

    assert prefix(asked, prompt_cache_key="k") == prefix(asked, prompt_cache_key="k", user="u")


@pytest.mark.parametrize("value", [None, "", 7, {"a": [1]}, [], True])
def test_whatever_stands_there_is_the_engines_to_judge(value: Any) -> None:
    assert prefix([says("user", "a")], user=value)
    assert 0 == prefix([says("user", "a")], ONE, user=value)


@pytest.mark.parametrize("content", [None, [], "", [{"type": "image_url", "image_url": {"url": "x" * 9999}}]])
def test_odd_contents_have_a_beginning_too(content: Any) -> None:
    assert 0 < prefix([says("user", content)]) < 2**32


def test_where_there_is_one_replica_nothing_is_read() -> None:
    assert 0 == prefix([says("user", "a")], ONE)


def test_completions_have_one_and_embeddings_none() -> None:
    completion = admit_completion(b'{"model": "m", "prompt": "a"}', MANY)
    of_ids = admit_completion(b'{"model": "m", "prompt": [1, 2]}', MANY)
    embedding = admit_embedding(b'{"model": "m", "input": "a"}', MANY)

    found = [one.prefix for one in (completion, of_ids, embedding) if isinstance(one, Admitted)]
    assert [of_text("a"), 0, 0] == found


@given(st.binary(), st.text())
def test_none_is_0(name: bytes, text: str) -> None:
    assert 0 not in (of_name(name), of_text(text))
