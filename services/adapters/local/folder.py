"""The data folder: one platform process at a time, and where that process can be reached."""

import os
import sys
from pathlib import Path

import msgspec

from events.words import Conflict, Invalid, Record


class Running(Record):
    """Where the platform on a data folder listens."""

    url: str
    metrics_url: str
    pid: int


class DataFolder:
    """A folder of mode 0700 holding everything a platform keeps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def prepare(self) -> None:
        """Makes the folder. Raises `Invalid` where that cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Invalid(f"The data folder {self.path} cannot be made: {error.strerror}.") from error
        if not os.access(self.path, os.W_OK):
            raise Invalid(
                f"The data folder {self.path} cannot be written to; choose another with --data-dir."
            )

    def lock(self) -> None:
        """Proves that no other platform lives here; raises `Conflict` if one does. The system drops
        the lock when this process dies, however it dies.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock_exclusively(descriptor)
        except OSError as error:
            os.close(descriptor)
            running = self.running()
            who = f" at {running.url} (pid {running.pid})" if running else ""
            raise Conflict(
                f"Another penstock runs on {self.path}{who}. Stop it, or choose another --data-dir."
            ) from error
        self._lock = descriptor

    def unlock(self) -> None:
        """Lets another platform live here."""
        (self.path / "running.json").unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def announce(self, running: Running) -> None:
        """Says where this platform listens, for the commands that look for it."""
        draft = self.path / ".running.json"
        draft.write_bytes(msgspec.json.encode(running))
        draft.rename(self.path / "running.json")

    def running(self) -> Running | None:
        """Where a platform listens, if one said so."""
        try:
            return msgspec.json.decode((self.path / "running.json").read_bytes(), type=Running)
        except (OSError, msgspec.DecodeError):
            return None


def _lock_exclusively(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415  (exists only there)

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl  # noqa: PLC0415  (exists only here)

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
