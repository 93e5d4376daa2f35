"""Writes the files that are made from the source; they are committed, and a test proves them current."""

from pathlib import Path

from events import export
from services.cli import reference


def render() -> dict[str, str]:
    """Every exported file: its path from the repository's root, and its text."""
    return export.render() | {reference.PATH: reference.settings_reference()}


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


if __name__ == "__main__":
    for touched_path in write(Path(__file__).parents[2]):
        print(touched_path)
