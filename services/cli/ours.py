"""Proves that `events`, `functions` and `services` are ours, before any of them is trusted.

The three names are plain words, and other distributions use them too. This module imports nothing of
ours, so that an entry point can call it first; it only looks, and runs no code of the packages it judges.
"""

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]

# How the `__init__.py` of each package begins.
MARKS = {
    "events": b'"""The contract of Penstock: ',
    "functions": b'"""What is decided when something is said; ',
    "services": b'"""What keeps running and touches the world.',
}


class ForeignPackage(ImportError):
    """A package of ours is hidden by, or mixed with, somebody else's of the same name."""


def check_packages() -> None:
    """Raises `ForeignPackage` where one of our packages is not ours, saying whose it is and what to do."""
    for name, mark in MARKS.items():
        spec = find_spec(name)
        if spec is None or not _is_ours(spec, ROOT / name, mark):
            raise ForeignPackage(_explain(name, spec))


def _is_ours(spec: ModuleSpec, place: Path, mark: bytes) -> bool:
    folders = list(spec.submodule_search_locations or ())
    if len(folders) != 1 or Path(folders[0]).resolve() != place.resolve() or spec.origin is None:
        return False
    with Path(spec.origin).open("rb") as file:
        return file.read(len(mark)) == mark


def _explain(name: str, spec: ModuleSpec | None) -> str:
    if spec is None:
        return f"Penstock's package {name!r} is missing beside {ROOT}. Install Penstock again."
    found = spec.origin or " and ".join(spec.submodule_search_locations or ())
    owners = _other_owners(name)
    if owners:
        return (
            f"The package {name!r} at {found} belongs to {', '.join(owners)}, not to Penstock. Uninstall "
            f"that, or give Penstock a virtual environment of its own, and install Penstock again."
        )
    return (
        f"The package {name!r} at {found} is not Penstock's, which lies in {ROOT / name}. No installed "
        f"distribution owns it: take its folder out of PYTHONPATH, or start from another folder."
    )


def _other_owners(name: str) -> list[str]:
    # Imported here because it costs more than all the rest, and only a failure needs it.
    from importlib.metadata import packages_distributions  # noqa: PLC0415

    return sorted({owner for owner in packages_distributions().get(name, ()) if owner != "penstock"})
