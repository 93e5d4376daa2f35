"""The gateways a run can measure. A new one is a class here and a row in `GATEWAYS`."""

import sys
from typing import ClassVar

import msgspec
from msgspec import Struct

from services.adapters import emulators
from services.adapters.local.master_key import FileMasterKey
from tests.bench.books import Books, LedgerBooks, PublishedBooks
from tests.bench.site.load import Address
from tests.bench.site.machine import free_port, tool
from tests.bench.site.site import FIXED, KEY, STREAMS, Site, fill_in, python

CHAT = "/v1/chat/completions"


class Gateway:
    """A program between callers and upstreams; one object for each start of it.

    As it is here it is started with nothing in its environment, listens where it was told to, answers
    chats and streams at one address, takes `KEY`, and keeps no books.
    """

    name: ClassVar[str]

    @classmethod
    def lacks(cls) -> str | None:
        """What this machine lacks to measure it, and how to get that; None where nothing."""
        return None

    def __init__(self, site: Site) -> None:
        self.site = site
        self.port = free_port()

    def command(self) -> tuple[str, ...]:
        """What starts it; empty where there is nothing to start."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What it is told beside its command."""
        return {}

    def address(self, printed: bytes) -> Address | None:
        """Where it answers, once what it printed says so."""
        url = f"http://127.0.0.1:{self.port}{CHAT}"
        return Address(url=url, stream_url=url)

    def books(self) -> Books | None:
        """What it counted, where it counts."""
        return None


class Direct(Gateway):
    """No gateway at all: what load and upstreams can do by themselves."""

    name = "direct"

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        return ()

    def address(self, printed: bytes) -> Address | None:
        """See `Gateway`."""
        fixed, stream = (
            f"http://127.0.0.1:{port}{CHAT}" for port in (self.site.fixed_port, self.site.stream_port)
        )
        return Address(url=fixed, stream_url=stream)


class NginxProxy(Gateway):
    """nginx with a key check and kept connections, and nothing else: the ruler."""

    name = "nginx-proxy"

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        site = self.site
        config = fill_in(
            "nginx_proxy.conf",
            site.folder,
            folder=site.folder,
            port=self.port,
            fixed_port=site.fixed_port,
            stream_port=site.stream_port,
            key=KEY,
        )
        return (tool("nginx"), "-c", str(config), "-p", str(site.folder))

    def address(self, printed: bytes) -> Address | None:
        """See `Gateway`."""
        base = f"http://127.0.0.1:{self.port}"
        return Address(url=base + CHAT, stream_url=f"{base}/stream{CHAT}")


class BareRelay(Gateway):
    """The least a gateway can do in Python: see `programs/relay.py`."""

    name = "h1"

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        models = (f"{model}={self.site.port_of(model)}" for model in (FIXED, *STREAMS))
        return python("relay", str(self.port), KEY, *models)


class Penstock(Gateway):
    """The whole platform as `penstock up` starts it: SQLite with `synchronous=FULL`, metering on."""

    name = "penstock"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._data = site.folder / f"data-{self.port}"
        self._config = site.folder / f"config-{self.port}.yaml"

    def command(self) -> tuple[str, ...]:
        """See `Gateway`."""
        self._config.write_bytes(msgspec.yaml.encode(_document(self.site)))
        module = (sys.executable, "-m", "services.cli.main")
        return (*module, "up", "--json", "--port", "0", "--metrics-port", "0", "--data-dir", str(self._data))

    def environment(self) -> dict[str, str]:
        """See `Gateway`."""
        return {"PENSTOCK_CONFIG": str(self._config)}

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


def _document(site: Site) -> dict[str, object]:
    ports = {"fixed": site.fixed_port, "stream": site.stream_port}
    return {
        "backends": {name: {"replicas": [f"http://127.0.0.1:{port}"]} for name, port in ports.items()},
        "models": {FIXED: {"backend": "fixed"}} | {model: {"backend": "stream"} for model in STREAMS},
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


# Peers (LiteLLM, Portkey, vllm-router, ...) come here, a class each as above. Their programs stay out of
# the repository, in virtual environments below a folder that an environment variable names.
USUAL: tuple[type[Gateway], ...] = (
    Direct,
    NginxProxy,
    BareRelay,
    Penstock,
    PenstockUnderUvicorn,
    PenstockCloud,
)
GATEWAYS: dict[str, type[Gateway]] = {kind.name: kind for kind in (*USUAL, Guarded)}
