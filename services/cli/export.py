"""Writes the files that are made from the source; they are committed, and a test proves them current.

With `--release` it also pins the schemas of all events as released.
"""

import json
import sys
from pathlib import Path

from events import export
from events.config_schema import PATH as CONFIG
from events.config_schema import config_schema
from events.release import PATH, broken, pinned
from events.words import Invalid
from services.cli import figures, reference
from services.router import openapi

ROOT = Path(__file__).parents[2]


def render() -> dict[str, str]:
    """Every exported file: its path from the repository's root, and its text."""
    schema = json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"
    api = json.dumps(openapi.document(), indent=2, ensure_ascii=False) + "\n"
    own = {CONFIG: schema, openapi.PATH: api, reference.PATH: reference.settings_reference()}
    return export.render() | own | {figures.PATH: figures.observability(ROOT)}


def write(root: Path) -> list[str]:
    """Writes what is not current under `root`, removes schemas of events that are gone, and returns
    the paths it touched.
    """
    files = render()
    touched = stale(root)
    for path in touched:
        target = root / path
        if path in files:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files[path], encoding="utf-8")
        else:
            target.unlink()
    return touched


def stale(root: Path) -> list[str]:
    """The paths of exported files under `root` that are missing, out of date or no longer exported."""
    files = render()
    changed = [path for path, text in files.items() if _read(root / path) != text]
    kept = (path.relative_to(root).as_posix() for path in sorted((root / export.SCHEMAS).glob("*.json")))
    return changed + [path for path in kept if path not in files]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def pins(root: Path) -> dict[str, str]:
    """The digest of every released version of an event under `root`, by type."""
    released: dict[str, str] = json.loads((root / PATH).read_text(encoding="utf-8"))
    return released


def release(root: Path) -> list[str]:
    """Pins the versions that have no pin yet; returns their types. Raises `Invalid` where a released one is
    not as it was.
    """
    before = pins(root)
    if told := broken(before):
        raise Invalid(" ".join(told))
    after = pinned(before)
    (root / PATH).write_text(json.dumps(after, indent=2) + "\n", encoding="utf-8")
    return [name for name in after if name not in before]


def main(arguments: list[str], root: Path) -> None:
    """Prints what was written, and what was pinned."""
    for path in write(root):
        print(path)
    if "--release" in arguments:
        for name in release(root):
            print(f"{name} is released")


if __name__ == "__main__":
    main(sys.argv[1:], ROOT)
