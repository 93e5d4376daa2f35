"""Makes a data folder with the code of a checkout, to be kept: `python -m tests.kept.make CHECKOUT FOLDER`.

    git worktree add /tmp/released TAG && python -m tests.kept.make /tmp/released tests/kept/schema-N

What it holds is used and told by HTTP alone, so that any release can be asked. Its keys protect nothing.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The same shape as tests.support.rehearsing, so that today's tests can go on with what is queued.
MODEL = "gemma-3-4b-it"
BACKEND = "rehearsal"
FOR_EVER_S = "3000000000"
ADMIN_KEY = "pak_for-tests-only"
KEPT = ("data.db", "data-keys.db", "master-key", "facts.json")


class Released:
    """Commands of the code in a checkout, on one data folder."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self._checkout = checkout
        self._folder = folder
        self.url = ""

    @contextmanager
    def running(self, *command: str, **variables: str) -> Iterator[dict[str, Any]]:
        """A command that serves; what it says of itself."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.cli.main", *command, "--json", "--port=0"],
            cwd=self._checkout,
            env=kept | {"PYTHONPATH": str(self._checkout)} | variables,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    @contextmanager
    def up(self, engine: str, **variables: str) -> Iterator[dict[str, Any]]:
        """The platform."""
        config = self._folder / "config.json"  # JSON is YAML
        backends = {BACKEND: {"replicas": [engine], "rehearsal": True}}
        config.write_text(json.dumps({"backends": backends, "models": {MODEL: {"backend": BACKEND}}}))
        settings = {
            "PENSTOCK_CONFIG": str(config),
            "PENSTOCK_ADMIN_KEY": ADMIN_KEY,
            "PENSTOCK_RESULTS_KEPT_S": FOR_EVER_S,
            "PENSTOCK_QUEUE_DEADLINE_S": FOR_EVER_S,
        }
        where = ("up", "--metrics-port=0", f"--data-dir={self._folder}")
        with self.running(*where, **settings, **variables) as told:
            self.url = told["url"]
            yield told

    def call(self, method: str, path: str, key: str, body: object = None) -> Any:
        """What an endpoint answers."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            json.dumps(body).encode() if body is not None else None,
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def usage(self, requests: int) -> list[dict[str, Any]]:
        """The ledger's sums, once they count so many requests."""
        end = time.monotonic() + 60
        while True:
            rows: list[dict[str, Any]] = self.call("GET", "/admin/v1/usage", ADMIN_KEY)["data"]
            if sum(row["requests"] for row in rows) >= requests:
                return rows
            assert time.monotonic() < end, rows
            time.sleep(0.1)


def chat(text: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 16}


def use(released: Released, key: str) -> dict[str, Any]:
    """Everything a platform keeps comes to be; what is to be found again."""
    released.call("POST", "/admin/v1/tenants", ADMIN_KEY, {"id": "acme", "name": "Acme"})
    of_acme = [
        released.call("POST", "/admin/v1/keys", ADMIN_KEY, {"tenant": "acme", "name": name})
        for name in ("calls", "queued", "revoked")
    ]
    secrets = {made["name"]: made["key"] for made in of_acme} | {"default": key}
    released.call("POST", f"/admin/v1/keys/{of_acme[2]['id']}/revoke", ADMIN_KEY)
    for name in ("default", "default", "calls"):
        released.call("POST", "/v1/chat/completions", secrets[name], chat("What is a penstock?"))
    named = released.call("POST", "/v1/requests", secrets["calls"], chat("Kept."))["id"]
    finished = released.call("GET", f"/v1/requests/{named}?wait=60", secrets["calls"])
    assert finished["status"] == "completed", finished
    return {"keys": secrets, "finished": finished, "usage": released.usage(4)}


def main(checkout: Path, folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    released = Released(checkout.resolve(), folder.resolve())
    with released.running("engine") as engine:
        with released.up(engine["url"]) as platform:
            facts = use(released, platform["key"])
        with released.up(engine["url"], PENSTOCK_QUEUE_SLOTS="0"):  # nobody runs what is queued now
            key = facts["keys"]["queued"]
            facts["queued"] = released.call("POST", "/v1/requests", key, chat("Not run yet."))["id"]
    note = {"note": "For tests only: these keys, and the master key beside them, protect nothing."}
    (folder / "facts.json").write_text(json.dumps(note | facts, indent=2) + "\n")
    for path in folder.iterdir():
        if path.name not in KEPT:
            path.unlink()
    total = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {total:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
