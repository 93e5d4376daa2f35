import math
import re
from typing import Any

import pytest

from events.config import Fleet, Place
from events.config_reading import read
from events.words import Invalid


def document(**changed: Any) -> dict[str, Any]:
    return {
        "backends": {"pool": {"replicas": ["http://10.0.0.5:8000"]}},
        "models": {"gemma": {"backend": "pool", "served_as": "gemma3:4b", "context": 8192}},
    } | changed


def replicas(*urls: object) -> dict[str, Any]:
    return document(backends={"pool": {"replicas": urls}})


def fleet(**said: object) -> dict[str, Any]:
    return document(backends={"pool": {"replicas": ["http://10.0.0.5:8000"], "fleet": said}})


def test_a_fleet_has_defaults_and_may_be_told() -> None:
    assert Fleet(min=1, max=5, slots=4, boot_s=150.0) == read(document()).backends["pool"].fleet
    told = read(fleet(min=0, max=3, slots=16, boot_s=20)).backends["pool"].fleet
    assert Fleet(min=0, max=3, slots=16, boot_s=20.0) == told


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"min": -1}, "backends.pool.fleet.min is -1: no fleet has fewer than 0 replicas."),
        ({"min": 6}, "backends.pool.fleet.max is 5: it must be at least 6 (min) and at most 1000."),
        ({"min": 0, "max": 0}, "backends.pool.fleet.max is 0: it must be at least 1 and at most 1000."),
        ({"max": 1001}, "backends.pool.fleet.max is 1001: it must be at least 1 and at most 1000."),
        ({"slots": 0}, "backends.pool.fleet.slots is 0: a replica has 1 to 4096 slots."),
        ({"boot_s": -1}, "backends.pool.fleet.boot_s is -1: it must be 0 to 3600 seconds."),
        ({"boot_s": math.nan}, "backends.pool.fleet.boot_s is nan: it must be 0 to 3600 seconds."),
        ({"boot_s": math.inf}, "backends.pool.fleet.boot_s is inf: it must be 0 to 3600 seconds."),
        ({"slotts": 4}, "slotts"),
        ({"max": "many"}, "fleet.max"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused_with_what_to_say(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(Invalid, match=re.escape(sentence)):
        read(fleet(**wrong))


def test_a_model_may_have_another_name_where_it_is_served() -> None:
    told, plain = read(document()), read(document(models={"gemma": {"backend": "pool"}}))

    assert Place(model="gemma", backend="pool", served_as="gemma3:4b") == told.place("gemma", "pool")
    assert Place(model="gemma", backend="pool", served_as="gemma") == plain.place("gemma", "pool")
    assert (None, None) == (told.place("gemma", "cloud"), told.place("llama", "pool"))


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
        (replicas("ftp://10.0.0.5"), "ftp"),
        (replicas("http://10.0.0.5:8000/v1"), "/v1"),
    ],
)
def test_a_document_that_is_wrong_is_refused_with_the_field_at_fault(wrong: object, named: str) -> None:
    with pytest.raises(Invalid, match=named):
        read(wrong)


def test_replicas_may_speak_tls() -> None:
    assert ("https://10.0.0.5",) == read(replicas("https://10.0.0.5")).backends["pool"].replicas


def test_how_long_a_models_answers_are_kept_may_be_told() -> None:
    gemma = {"backend": "pool", "cache_ttl_s": 60, "version": "2026-11"}
    told = read(document(models={"gemma": gemma})).models["gemma"]
    assert (60, "2026-11") == (told.cache_ttl_s, told.version)


@pytest.mark.parametrize("ttl_s", [0, -1, 604_801])
def test_no_answer_is_kept_for_a_time_that_cannot_be(ttl_s: int) -> None:
    sentence = f"models.gemma.cache_ttl_s is {ttl_s}: it must be 1 to 604800 seconds."
    with pytest.raises(Invalid, match=re.escape(sentence)):
        read(document(models={"gemma": {"backend": "pool", "cache_ttl_s": ttl_s}}))


@pytest.mark.parametrize("url", ["http://localhost:11434", "http://engine/"])
def test_base_urls_are_taken(url: str) -> None:
    assert (url,) == read(replicas(url)).backends["pool"].replicas
