"""What stands between callers and upstreams, and the gateways to measure ours by."""

from typing import ClassVar

from tests.bench.books import Books
from tests.bench.site.load import Address
from tests.bench.site.machine import free_port, tool
from tests.bench.site.site import FIXED, KEY, MANY, STREAMS, Site, fill_in, python

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
        models = (f"{model}={self.site.port_of(model)}" for model in (FIXED, *STREAMS, MANY))
        return python("relay", str(self.port), KEY, *models)
