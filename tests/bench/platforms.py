"""Platforms of ours that a run can measure."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from services.adapters import emulators
from services.adapters.local.master_key import FileMasterKey
from tests.bench.books import Books, LedgerBooks, PublishedBooks
from tests.bench.gateways import CHAT, Gateway
from tests.bench.site.load import Address
from tests.bench.site.machine import ROOT
from tests.bench.site.site import FIXED, MANY, STREAMS, Site, python

KEYS = 10_000


class Penstock(Gateway):
    """The whole platform as `penstock up` starts it: SQLite with `synchronous=FULL`, metering on."""

    name = "penstock"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._data = site.folder / f"data-{self.port}"
        self._config = site.folder / f"config-{self.port}.yaml"

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        self._config.write_bytes(msgspec.yaml.encode(self.document()))
        module = (sys.executable, "-m", "services.cli.main")
        return (*module, "up", "--json", "--port", "0", "--metrics-port", "0", "--data-dir", str(self._data))

    def environment(self) -> dict[str, str]:
        """See `Gateway`."""
        return {"PENSTOCK_CONFIG": str(self._config)}

    def document(self) -> dict[str, Any]:
        """Its configuration."""
        return _document(self.site)

    def address(self, printed: bytes) -> Address | None:
        """See `Gateway`."""
        line, whole, _ = printed.partition(b"\n")
        if not whole:
            return None
        told = msgspec.json.decode(line, type=_Started)
        url = told.url + CHAT
        return Address(url=url, stream_url=url, key=told.key, health_url=told.url + "/health")

    def books(self) -> Books | None:
        """See `Gateway`."""
        return LedgerBooks(self._data)


class PenstockUnderUvicorn(Penstock):
    """The same, with uvicorn in place of our front."""

    name = "penstock-uvicorn"

    def environment(self) -> dict[str, str]:
        """See `Gateway`."""
        return {**super().environment(), "PENSTOCK_FRONT": "uvicorn"}


class PenstockCloud(Gateway):
    """The router alone as it runs on Google Cloud: usage is published, as pages on Pub/Sub. The Pub/Sub is
    one that acks and counts, the Firestore is the official emulator; both are on the load's processor.
    """

    name = "penstock-cloud"

    @classmethod
    def lacks(cls) -> str | None:
        """See `Gateway`."""
        return emulators.missing(emulators.FIRESTORE)

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        config = site.folder / "config-cloud.json"
        config.write_bytes(msgspec.json.encode(_document(site)))
        self._cloud = site.cloud(config)
        self._master_key = site.folder / "master-key"
        if not self._master_key.exists():
            FileMasterKey(self._master_key)

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        module = (sys.executable, "-m", "services.cli.main")
        return (*module, "serve", "router", "--port", str(self.port))

    def environment(self) -> dict[str, str]:
        """See `Gateway`."""
        return {
            "GOOGLE_CLOUD_PROJECT": "bench",
            "FIRESTORE_EMULATOR_HOST": self._cloud.firestore,
            "PUBSUB_EMULATOR_HOST": self._cloud.pubsub,
            "PENSTOCK_MASTER_KEY_FILE": str(self._master_key),
            "PENSTOCK_METRICS_PORT": "0",
        }

    def address(self, printed: bytes) -> Address | None:
        """See `Gateway`."""
        base = f"http://127.0.0.1:{self.port}"
        url = base + CHAT
        return Address(url=url, stream_url=url, key=self._cloud.key, health_url=base + "/health")

    def books(self) -> Books | None:
        """See `Gateway`."""
        return PublishedBooks(self._cloud.books)


def _document(site: Site) -> dict[str, Any]:
    ports = {"fixed": site.fixed_port, "stream": site.stream_port}
    streams = {model: {"backend": "stream"} for model in (*STREAMS, MANY)}
    return {
        "backends": {name: {"replicas": [f"http://127.0.0.1:{port}"]} for name, port in ports.items()},
        "models": {FIXED: {"backend": "fixed"}} | streams,
    }


class Guarded(Penstock):
    """The same with a guard that reads everything and changes nothing; measured where it is named."""

    name = "penstock-guarded"

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        super().command()
        return python("guarded")

    def environment(self) -> dict[str, str]:
        """See `Gateway`."""
        told = {"PENSTOCK_PORT": "0", "PENSTOCK_METRICS_PORT": "0", "PENSTOCK_DATA_DIR": str(self._data)}
        return super().environment() | told


class _Started(Struct):
    """What of the line that `penstock up --json` prints matters here."""

    url: str
    key: str


class Keyed(Penstock):
    """The same with so many API keys, of which each call has the next one."""

    name = "penstock-keyed"

    def __init__(self, site: Site, count: int) -> None:
        super().__init__(site)
        self._keys = ManyKeys(self._data, count)

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        self._keys.make()
        return super().command()

    def address(self, printed: bytes) -> Address | None:
        """See `Gateway`."""
        found = super().address(printed)
        return found and self._keys.used(found)


class ManyKeys:
    """API keys in a data folder that no platform has used yet."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._file = folder.with_suffix(".keys")

    def make(self) -> None:
        """Makes folder and keys."""
        made = python("keys", str(self._folder), str(self._count), str(self._file))
        subprocess.run(made, check=True, cwd=ROOT)

    def used(self, address: Address) -> Address:
        """The same address, asked with these keys."""
        return replace(address, key=self._file.read_text().split()[0], keys=str(self._file))


class Full(Guarded):
    """The same with all that a platform may be asked to do for a call: 10,000 keys in turn, a look into the
    cache (a miss), a guard that changes nothing, four replicas, and every hundredth call traced.
    """

    name = "penstock-full"

    @classmethod
    def lacks(cls) -> str | None:
        """See `Gateway`."""
        if importlib.util.find_spec("opentelemetry") is None:
            return "opentelemetry is missing here; pip install --require-hashes -r infra/locks/all.txt"
        return None

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._keys = ManyKeys(self._data, KEYS)

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        self._keys.make()
        return super().command()

    def environment(self) -> dict[str, str]:
        """See `Gateway`."""
        traced = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.site.fixed_port}",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }
        return super().environment() | traced

    def document(self) -> dict[str, Any]:
        """See `Penstock`."""
        found = super().document()
        port = self.site.fixed_port
        found["backends"]["fixed"]["replicas"] = [f"http://127.0.0.{last}:{port}" for last in range(1, 5)]
        return found

    def address(self, printed: bytes) -> Address | None:
        """See `Gateway`."""
        found = super().address(printed)
        return found and self._keys.used(found)
