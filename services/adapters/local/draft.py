"""Files that appear whole: written under another name first, for their owner alone."""

import os
import tempfile
from pathlib import Path


def make_draft(path: Path) -> tuple[int, Path]:
    """A new file of mode 0600 beside `path`, open for writing, to be renamed to it.

    Drafts that a crash left are removed: whoever writes here holds the folder's lock.
    """
    prefix = f".{path.name}."
    for left in path.parent.glob(f"{prefix}*"):
        left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    return descriptor, Path(name)


def sync_folder(folder: Path) -> None:
    """Makes a new name durable."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
