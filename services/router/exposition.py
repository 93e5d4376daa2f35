"""The metrics listener: Prometheus text on a port of its own, never on the public one."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from services.front.call import Call, Reply
from services.router.metrics import Metrics
from services.telemetry.prometheus import PrometheusFigures
from services.wire.fields import field

TYPE = field("content-type", CONTENT_TYPE_LATEST)


class Exposition:
    """The endpoint `/metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(PrometheusFigures(metrics.read))

    def __call__(self, call: Call, reply: Reply) -> None:
        """Answers one scrape."""
        if call.path == b"/metrics":
            reply.send(200, TYPE, generate_latest(self._registry))
        else:
            reply.send(404, field("content-type", "text/plain"), b"Metrics are at /metrics.\n")
