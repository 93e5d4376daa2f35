"""Secrets kept in files only their owner may read."""

import os
from collections.abc import Callable
from pathlib import Path

from events.words import Invalid

OWNER_ONLY = 0o600


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """The secret in the file, made at its first use; the file appears whole, with mode 0600."""
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "w") as file:
        file.write(make() + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    _sync_folder(path.parent)
    return _read(path)


def _read(path: Path) -> str:
    secret = path.read_text().strip()
    if not secret:
        raise Invalid(f"{path} is empty: restore it from your copy, or move it away to start afresh.")
    return secret


def _sync_folder(folder: Path) -> None:
    """Makes the new name durable: a key lost with the power would take what it sealed along."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
