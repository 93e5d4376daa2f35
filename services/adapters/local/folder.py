"""The data folder: one platform process at a time, and where that process can be reached."""

import logging
import os
import sys
from pathlib import Path

import msgspec

from events.words import Conflict, Invalid, Record
from services.adapters.local.draft import make_draft

OWNER_ONLY = 0o700
OTHERS = 0o077
LOCK = "lock"

log = logging.getLogger("penstock.folder")


class Running(Record):
    """Where the platform on a data folder listens."""

    url: str
    metrics_url: str
    pid: int


class DataFolder:
    """A folder of mode 0700 holding everything a platform keeps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._announcement = path / "running.json"
        self._lock: int | None = None
        self._announced: int | None = None

    def prepare(self) -> None:
        """Makes the folder, or closes the one there is to others. Raises `Invalid` where that cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
            if sys.platform != "win32" and self.path.stat().st_mode & OTHERS:
                self._close_to_others()
        except OSError as error:
            raise Invalid(f"The data folder {self.path} cannot be made: {error.strerror}.") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise Invalid(
                f"The data folder {self.path} cannot be written to; choose another with --data-dir."
            )

    def _close_to_others(self) -> None:
        """Nobody's home, /tmp or project is closed to others because somebody named it as a data folder."""
        empty = not any(self.path.iterdir())
        if self.path.stat().st_uid != os.geteuid() or not (empty or (self.path / LOCK).exists()):
            raise Invalid(
                f"The folder {self.path} is open to other users, and is not one of Penstock's. Name a "
                f"folder of its own, such as: --data-dir {self.path / 'penstock'}."
            )
        self.path.chmod(OWNER_ONLY)
        for file in self.path.glob("*.db*"):  # made when a platform took no care of their modes
            file.chmod(file.stat().st_mode & OWNER_ONLY)
        if self.path.stat().st_mode & OTHERS:
            raise Invalid(
                f"The data folder {self.path} cannot be closed to other users on its file system; choose "
                "another with --data-dir."
            )
        if not empty:
            log.warning("the data folder %s was open to other users; its mode is 0700 now", self.path)

    def lock(self) -> None:
        """Proves that no other platform lives here; raises `Conflict` if one does. The system drops
        the lock when this process dies, however it dies.
        """
        try:
            self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            locked = _lock_exclusively(self._lock)
        except OSError as error:
            raise Invalid(f"{self.path / LOCK} cannot be locked: {error.strerror}.") from error
        if not locked:
            self._let_go()
            running = self.running()
            who = f" at {running.url} (pid {running.pid})" if running else ""
            raise Conflict(
                f"Another penstock runs on {self.path}{who}. Stop it, or choose another --data-dir."
            )

    def unlock(self) -> None:
        """Lets another platform live here."""
        self.withdraw()
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def announce(self, running: Running) -> None:
        """Says where this platform listens, for the commands that look for it.

        The file is locked while its writer lives, so that what a killed platform left behind is not
        believed. It is locked before it has its name: whoever looks takes no lock from anybody.
        """
        descriptor, draft = make_draft(self._announcement)
        os.write(descriptor, msgspec.json.encode(running))
        if sys.platform == "win32":  # an open file cannot be renamed there
            os.close(descriptor)
        else:
            _lock_exclusively(descriptor)
            self._announced = descriptor
        draft.replace(self._announcement)

    def withdraw(self) -> None:
        """Nobody finds this platform any more: its port is about to be free for others."""
        self._announcement.unlink(missing_ok=True)
        if self._announced is not None:
            os.close(self._announced)
            self._announced = None

    def running(self) -> Running | None:
        """Where a platform listens, if one that lives said so. Raises `Invalid` where that cannot be read."""
        try:
            with self._announcement.open("rb") as file:
                return msgspec.json.decode(file.read(), type=Running) if _is_locked(file.fileno()) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Invalid(f"{self._announcement} cannot be read: {error.strerror}.") from error
        except ValueError:
            return None


if sys.platform == "win32":
    import msvcrt

    def _lock_exclusively(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _is_locked(descriptor: int) -> bool:
        return True

else:
    import fcntl

    def _lock_exclusively(descriptor: int) -> bool:
        return _locks(descriptor, fcntl.LOCK_EX)

    def _is_locked(descriptor: int) -> bool:
        return not _locks(descriptor, fcntl.LOCK_SH)

    def _locks(descriptor: int, kind: int) -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
