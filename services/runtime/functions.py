"""The functions with their ports: the same handlers on one machine and in the cloud."""

import secrets
from collections.abc import Mapping
from functools import partial
from random import Random

from functions.autoscale import handler as autoscale
from functions.backup import handler as backup
from functions.backup.manifest import Kind
from functions.backup.retention import Keep
from functions.caching import handler as caching
from functions.delivery import handler as delivery
from functions.metering import handler as metering
from functions.request import handler as request
from functions.routing import handler as routing
from services.adapters.memory.attempt_counts import NoAttemptCounts
from services.delivery.handling import Handle
from services.dispatcher import pressure
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.ports import Metrics
from services.dispatcher.ports import Ports as DispatcherPorts
from services.jobs.once import RunOnce
from services.pool.sse import read_answer
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
        requests=stores.requests,
        tenants=stores.keys,
        config=process.config,
        keep_s=settings.results_kept_s,
    )
    metering_ports = metering.Ports(
        ledger=stores.ledger, counts=NoAttemptCounts(), silent_after_s=settings.silent_after_s
    )
    autoscale_ports = autoscale.Ports(advice=stores.advice, config=process.config)
    caching_ports = caching.Ports(
        cache=stores.cache,
        tenants=stores.keys,
        requests=stores.requests,
        bodies=stores.bodies,
        sealer=stores.sealer,
        config=process.config,
        usage_of=read_answer,
    )
    delivery_ports = delivery.Ports(requests=stores.requests, bodies=stores.bodies, sealer=stores.sealer)
    return {
        "request": partial(request.handle, ports=request_ports),
        "routing": partial(routing.handle, ports=routing_ports),
        "metering": partial(metering.handle, ports=metering_ports),
        "caching": partial(caching.handle, ports=caching_ports),
        "delivery": partial(delivery.handle, ports=delivery_ports),
        "autoscale": partial(autoscale.handle, ports=autoscale_ports),
    }


def run_once(process: Process) -> RunOnce:
    """What stands before every handler that a job may start."""
    return RunOnce(process.stores.job_runs, process.now)


def backup_handler(archives: backup.Archives, keep: Mapping[Kind, Keep]) -> Handle:
    """The handler of the backup function, which writes `archives` and thins them out by `keep`."""
    return partial(backup.handle, ports=backup.Ports(archives=archives, keep=keep))


def dispatcher(process: Process, recorder: UsageRecorder, metrics: Metrics | None = None) -> Dispatcher:
    """The dispatcher; it records its attempts with `recorder`, and counts them in `metrics`."""
    stores = process.stores

    async def may_leave(tenant: str) -> bool:
        found = await stores.keys.tenant(tenant)
        return found is not None and found.may_leave == "on"

    ports = DispatcherPorts(
        requests=stores.requests,
        bodies=stores.bodies,
        journal=stores.journal,
        keyed_calls=stores.keyed_calls,
        sealer=stores.sealer,
        publisher=process.publisher,
        recorder=recorder,
        pool=process.pool,
        config=process.config,
        now=process.now,
        owner=process.producer,
        pace=process.pace(),
        waiters=process.waiters,
        metrics=metrics,
        watch=process.telemetry.watch_runs(),
        may_leave=may_leave,
        guard=process.guard,
    )
    return Dispatcher(ports, Random(secrets.randbits(64)))  # noqa: S311  (spreads claims, guards nothing)


def pressure_reporter(process: Process, dispatcher: Dispatcher) -> pressure.PressureReporter:
    """What says how much a dispatcher has to do; to be run beside it."""
    ports = pressure.Ports(
        queue=process.stores.requests,
        publisher=process.publisher,
        pool=process.pool,
        config=process.config,
        now=process.now,
        producer=process.producer,
        slots=process.settings.queue_slots,
    )
    return pressure.PressureReporter(dispatcher.tally, ports)
