from typing import Any

import pytest

from events.config import read
from events.words import Invalid


def document(**changed: Any) -> dict[str, Any]:
    return {
        "backends": {"pool": {"replicas": ["http://10.0.0.5:8000"]}},
        "models": {"gemma": {"backend": "pool", "served_as": "gemma3:4b", "context": 8192}},
    } | changed


def replicas(*urls: object) -> dict[str, Any]:
    return document(backends={"pool": {"replicas": urls}})


def test_a_model_may_have_another_name_where_it_is_served() -> None:
    assert "gemma3:4b" == read(document()).served_name("gemma")
    assert "gemma" == read(document(models={"gemma": {"backend": "pool"}})).served_name("gemma")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (None, "null"),
        ([], "array"),
        ({}, "backends"),
        (document(modles={}), "modles"),
        (document(models={"gemma": {}}), "backend"),
        (document(models={"gemma": {"backend": "pool", "context": "big"}}), "context"),
        (document(models={"gemma": {"backend": "cloud"}}), "models.gemma.backend"),
        (replicas(), "backends.pool.replicas"),
        (replicas(5), "replicas"),
        (replicas("10.0.0.5:8000"), "10.0.0.5:8000"),
        (replicas("https://10.0.0.5"), "https"),
        (replicas("http://10.0.0.5:8000/v1"), "/v1"),
    ],
)
def test_a_document_that_is_wrong_is_refused_with_the_field_at_fault(wrong: object, named: str) -> None:
    with pytest.raises(Invalid, match=named):
        read(wrong)


@pytest.mark.parametrize("url", ["http://localhost:11434", "http://engine/"])
def test_base_urls_are_taken(url: str) -> None:
    assert (url,) == read(replicas(url)).backends["pool"].replicas
