import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.catalog import KNOWN, subscriptions
from events.config_schema import config_schema, config_structs
from events.envelope import Event, decode, type_of
from events.examples import EXAMPLES
from events.export import catalog, schema_of
from events.reference import meaning, reference, structs
from services.cli.export import render, stale, write

ROOT = Path(__file__).parents[2]


def test_exported_files_are_current() -> None:
    assert [] == stale(ROOT), "write them anew with: .venv/bin/python -m services.cli.export"


def test_writing_mends_what_is_stale_and_removes_what_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "events" / "schemas" / "penstock.gone.away.v1.json"
    gone.parent.mkdir(parents=True)
    gone.write_text("{}")
    assert {*render(), gone.relative_to(tmp_path).as_posix()} == set(write(tmp_path))
    assert not gone.exists()
    assert [] == write(tmp_path)
    assert all(text == (tmp_path / path).read_text() for path, text in render().items())


def test_the_catalogue_names_every_subscription() -> None:
    assert [one.name for one in subscriptions()] == [one["name"] for one in catalog()["subscriptions"]]


@pytest.mark.parametrize("event", KNOWN.values())
def test_every_field_of_every_event_is_explained(event: type[Event]) -> None:
    silent = [
        f"{struct.cls.__name__}.{field.name}"
        for struct in structs(event)
        for field in struct.fields
        if not meaning(struct.cls, field.name)
    ]
    assert [] == silent, "say what they mean in the class's docstring: `field`: what it means."


@pytest.mark.parametrize("event", KNOWN.values())
def test_schemas_have_an_identity_and_only_references_that_lead_somewhere(event: type[Event]) -> None:
    schema = schema_of(event)
    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]
    assert f"urn:{type_of(event).replace('penstock.', 'penstock:event:', 1)}" == schema["$id"]
    assert type_of(event) == schema["title"]
    assert {f"#/$defs/{name}" for name in schema.get("$defs", ())} == set(references(schema))


@pytest.mark.parametrize("event", KNOWN.values())
def test_times_in_schemas_say_so(event: type[Event]) -> None:
    for struct in structs(event):
        schema = schema_of(event)
        part = schema["$defs"][struct.cls.__name__] if struct.cls is not event else schema
        for field in struct.fields:
            if isinstance(field.type, msgspec.inspect.DateTimeType):
                assert "date-time" == part["properties"][field.name]["format"]


@pytest.fixture(scope="module")
def told() -> str:
    return reference()


@pytest.mark.parametrize(("source", "example"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_the_reference_shows_a_message_that_decodes(told: str, source: str, example: Event) -> None:
    section = told.split(f"## `{type_of(type(example))}`")[1]
    head, _, body = section.split("```")[1].strip().partition("\n\n")
    attributes = dict(line.split(": ", 1) for line in head.splitlines())
    event = decode(attributes, body.encode(), KNOWN).event
    assert type(example) is type(event)
    assert json.loads(msgspec.json.encode(example)) == json.loads(msgspec.json.encode(event))
    assert source == attributes["ce-source"]


def test_there_is_an_example_of_every_event() -> None:
    assert set(KNOWN.values()) == {type(example) for _, example in EXAMPLES}


def references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [found for item in schema for found in references(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if "$ref" in schema else []
    return own + [found for item in schema.values() for found in references(item)]


def test_exports_end_in_one_line_feed() -> None:
    for path, text in render().items():
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        if path.endswith(".json"):
            json.loads(text)


def test_every_field_of_the_configuration_document_is_explained() -> None:
    silent = [
        f"{struct.cls.__name__}.{field.name}"
        for struct in config_structs()
        for field in struct.fields
        if not meaning(struct.cls, field.name)
    ]
    assert [] == silent


def test_the_schema_of_the_configuration_document_leads_nowhere_else() -> None:
    schema = config_schema()
    assert {f"#/$defs/{name}" for name in schema["$defs"]} == set(references(schema))
    assert schema["additionalProperties"] is False
    assert {"backends", "models", "aliases", "version"} == set(schema["properties"])
