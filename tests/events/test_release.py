"""A released version of an event stays as it is."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import pytest

from events.catalog import KNOWN
from events.envelope import Event, type_of
from events.release import PATH, broken, digest_of, pinned
from events.words import Invalid, Record
from services.cli.export import main, pins, release

ROOT = Path(__file__).parents[2]


class Part(Record):
    """A part. `title`: a word."""

    title: str


class TeaMade(Event):
    """Tea was made. `cups`: how many. `parts`: which."""

    about: ClassVar[str] = "pot"

    pot: str
    cups: int
    parts: tuple[Part, ...] = ()


def made(**fields: object) -> type[Event]:
    """The same event in other words, with other fields."""
    own = {"about": ClassVar[str], "pot": str, "cups": int, "parts": tuple[Part, ...], **fields}
    spec = {"__doc__": "Tea!", "__module__": __name__, "__annotations__": own, "about": "pot", "parts": ()}
    return type(Event)("TeaMade", (Event,), spec, kw_only=True)


TEA = type_of(TeaMade)
PINS = {TEA: digest_of(TeaMade)}


def test_released_versions_are_as_they_were() -> None:
    assert [] == broken(pins(ROOT)), "a released version never changes; see CONTRIBUTING.md, Events."


def test_a_release_pins_its_events() -> None:
    released = re.search(r"^## \[?\d", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released is None or pins(ROOT), "pin them with: .venv/bin/python -m services.cli.export --release"


def test_what_is_as_it_was_is_not_broken() -> None:
    assert [] == broken(PINS, {TEA: TeaMade})
    assert [] == broken({}, {TEA: TeaMade})


def test_other_words_are_no_other_version() -> None:
    assert [] == broken(PINS, {TEA: made()})


class Renamed(Record):
    """The same under another name."""

    title: str


class Grown(Record):
    """More of it."""

    title: str
    size: int = 0


class Shorn(Record):
    """Less of it."""


CHANGES: dict[str, dict[str, object]] = {
    "another type": {"cups": str},
    "a new field": {"colour": str},
    "a new field in a part": {"parts": tuple[Grown, ...]},
    "a field less in a part": {"parts": tuple[Shorn, ...]},
    "another form": {"pot": datetime},
}


@pytest.mark.parametrize("fields", CHANGES.values(), ids=CHANGES)
def test_a_changed_version_is_told_with_what_to_do(fields: dict[str, object]) -> None:
    (told,) = broken(PINS, {TEA: made(**fields)})
    assert told.startswith(f"{TEA} is released and its schema changed")
    assert "make the next version" in told


def test_a_part_may_have_another_name() -> None:
    assert [] == broken(PINS, {TEA: made(parts=tuple[Renamed, ...])})


def test_a_version_that_is_gone_is_told() -> None:
    (told,) = broken(PINS, {})
    assert told.startswith(f"{TEA} is released and gone")


def test_a_release_pins_what_is_new_and_keeps_what_was_pinned() -> None:
    assert {"penstock.old.v1": "0" * 64, **PINS} == pinned({"penstock.old.v1": "0" * 64}, {TEA: TeaMade})
    assert {TEA: "0" * 64} == pinned({TEA: "0" * 64}, {TEA: TeaMade})


def test_the_command_pins_all_there_is_and_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / PATH).write_text("{}")
    main(["--release"], tmp_path)
    said = capsys.readouterr().out

    assert sorted(KNOWN) == sorted(pins(tmp_path))
    assert all(f"{name} is released" in said for name in KNOWN)
    assert [] == release(tmp_path)
    main([], tmp_path)
    assert "" == capsys.readouterr().out


def test_the_command_pins_nothing_over_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / PATH).write_text(json.dumps({"penstock.old.v1": "0" * 64}))

    with pytest.raises(Invalid, match="released and gone"):
        release(tmp_path)
    assert ["penstock.old.v1"] == list(pins(tmp_path))
