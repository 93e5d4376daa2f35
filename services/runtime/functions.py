"""The functions with their ports: the same handlers on one machine and in the cloud."""

import secrets
from functools import partial
from random import Random

from functions.metering import handler as metering
from functions.request import handler as request
from functions.routing import handler as routing
from services.adapters.memory.attempt_counts import NoAttemptCounts
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.ports import Ports as DispatcherPorts
from services.embedded.consumer import Handle
from services.runtime.process import Process
from services.usage.recorder import UsageRecorder


def handlers(process: Process) -> dict[str, Handle]:
    """The handler of every function, by the function's name."""
    settings, stores = process.settings, process.stores
    request_ports = request.Ports(
        requests=stores.requests,
        bodies=stores.bodies,
        sealer=stores.sealer,
        keys=stores.keys,
        config=process.config,
        terms=process.terms(),
    )
    routing_ports = routing.Ports(
        requests=stores.requests, config=process.config, keep_s=settings.results_kept_s
    )
    metering_ports = metering.Ports(
        ledger=stores.ledger, counts=NoAttemptCounts(), silent_after_s=settings.silent_after_s
    )
    return {
        "request": partial(request.handle, ports=request_ports),
        "routing": partial(routing.handle, ports=routing_ports),
        "metering": partial(metering.handle, ports=metering_ports),
    }


def dispatcher(process: Process, recorder: UsageRecorder) -> Dispatcher:
    """The dispatcher; it records its attempts with `recorder`."""
    stores = process.stores
    ports = DispatcherPorts(
        requests=stores.requests,
        bodies=stores.bodies,
        sealer=stores.sealer,
        publisher=process.publisher,
        recorder=recorder,
        pool=process.pool,
        config=process.config,
        now=process.now,
        owner=process.producer,
        pace=process.pace(),
    )
    return Dispatcher(ports, Random(secrets.randbits(64)))  # noqa: S311  (spreads claims, guards nothing)
