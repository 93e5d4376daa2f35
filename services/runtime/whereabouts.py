"""Where the platform on a data folder listens, for the commands that look for it."""

from pathlib import Path

from services.adapters.local.folder import DataFolder


def url_of(folder: Path) -> str | None:
    """The address that the platform living on a folder announced; None where none lives there."""
    running = DataFolder(folder).running()
    return running.url if running else None
