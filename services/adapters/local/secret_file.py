"""Secrets kept in files only their owner may read."""

import os
from collections.abc import Callable
from pathlib import Path

from events.words import Invalid
from services.adapters.local.draft import make_draft, sync_folder


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """The secret in the file, made at its first use. Raises `Invalid` where it cannot be read or made."""
    try:
        secret = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        secret = make()
        write(path, secret)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        secret = ""
    if not secret:
        raise Invalid(f"{path} holds no key: restore it from your copy, or move it away to start afresh.")
    return secret


def write(path: Path, secret: str) -> None:
    """Keeps a secret, in place of the one there was: it appears whole and durable, with mode 0600.

    A key lost with the power would take what it sealed along.
    """
    try:
        descriptor, draft = make_draft(path)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise Invalid(f"{path} cannot be written: {error.strerror}.") from error
