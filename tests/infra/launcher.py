"""A small repository around the launcher, so that installing can be tried without touching this one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class SmallRepository:
    """Its locks list nothing; its command and its tests print what they were given.

    `path` is the search path of programs: without uv on it, pip installs.
    """

    def __init__(self, root: Path, path: str) -> None:
        self.root = root
        self.launcher = root / "penstock"
        self.venv = root / ".venv"
        self.path = path
        for folder in ("infra/locks", "services/cli", "tests"):
            (root / folder).mkdir(parents=True)
        for name in ("penstock", "infra/__init__.py", "infra/install.py"):
            shutil.copy(ROOT / name, root / name)
        for name in ("services/__init__.py", "services/cli/__init__.py"):
            (root / name).touch()
        (root / "services/cli/main.py").write_text("import sys\nprint(__spec__.name, *sys.argv[1:])\n")
        (root / "tests/run.py").write_text("import sys\nprint('tests', *sys.argv[1:])\n")
        for lock in ("base", "dev", "all"):
            self.write_lock(lock, "# Nothing.\n")

    def write_lock(self, lock: str, text: str) -> None:
        """Changes what is to be installed."""
        (self.root / "infra" / "locks" / f"{lock}.txt").write_text(text)

    def popen(
        self, *arguments: str, launcher: Path | None = None, cwd: Path | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """Begins a start."""
        return subprocess.Popen(
            [sys.executable, str(launcher or self.launcher), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=os.environ | {"PATH": self.path} | environment,
        )

    def start(
        self, *arguments: str, launcher: Path | None = None, cwd: Path | None = None, **environment: str
    ) -> tuple[int, str, str]:
        """A start to its end: exit code, output, and what was said beside it."""
        process = self.popen(*arguments, launcher=launcher, cwd=cwd, **environment)
        output, told = process.communicate(timeout=120)
        return process.returncode, output, told
