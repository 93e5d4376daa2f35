"""What a process tells of itself: traces, figures and the access log, put together where asked for."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from events.bus import Publisher
from events.config import Config
from events.words import Invalid, Record
from services.delivery.handling import Handle
from services.dispatcher.watch import RunWatch
from services.embedded.workers import Workers
from services.router.metrics import Gauge
from services.router.watch import Watch
from services.runtime.logs import in_json
from services.runtime.settings import Settings
from services.runtime.version import version
from services.telemetry import names
from services.telemetry.access import AccessLog, as_json, as_text
from services.telemetry.context import Sampler, sampler_of
from services.telemetry.events import TracedPublisher, traced
from services.telemetry.figures import Reading
from services.telemetry.spans import Tracer
from services.telemetry.users import Secrets, Users

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
EVERY_MS = 60_000.0


class Wish(Record):
    """What the environment says of telemetry: where spans and figures go, "" for nowhere; which calls are
    traced; how often figures are sent, in seconds; who this is.
    """

    traces_url: str = ""
    metrics_url: str = ""
    sampler: Sampler = Sampler()
    every_s: float = EVERY_MS / 1000
    service: str = ""
    project: str = ""


def read_wish(environment: Mapping[str, str] | None = None) -> Wish:
    """OpenTelemetry's own variables. Raises `Invalid` by name."""
    given = os.environ if environment is None else environment
    project = given.get("GOOGLE_CLOUD_PROJECT", "")
    if given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Wish(project=project)
    return Wish(
        traces_url=_url(given, "TRACES", "traces"),
        metrics_url=_url(given, "METRICS", "metrics"),
        sampler=sampler_of(given.get("OTEL_TRACES_SAMPLER", ""), given.get("OTEL_TRACES_SAMPLER_ARG", "")),
        every_s=_milliseconds(given, "OTEL_METRIC_EXPORT_INTERVAL") / 1000,
        service=given.get("OTEL_SERVICE_NAME", ""),
        project=project,
    )


def _url(given: Mapping[str, str], signal: str, path: str) -> str:
    if given.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() == "none":
        return ""
    for variable, suffix in ((f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", ""), (ENDPOINT, f"/v1/{path}")):
        url = given.get(variable, "").strip()
        if url and not url.startswith(("http://", "https://")):
            raise Invalid(f"{variable} is {url!r}; use the base URL of a collector such as http://host:4318.")
        if url:
            return url.rstrip("/") + suffix
    return ""


def _milliseconds(given: Mapping[str, str], variable: str) -> float:
    text = given.get(variable, "")
    try:
        found = float(text or EVERY_MS)
    except ValueError:
        found = 0.0
    if not 100 <= found <= 86_400_000:
        raise Invalid(f"{variable} is {text!r}; use milliseconds from 100 to 86400000.")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """`tracer` and `access` are None where nobody asked for them. `system` is what the bus is called."""

    wish: Wish
    tracer: Tracer | None
    access: AccessLog | None
    resource: "Resource | None"
    system: str

    def watch(self, config: Callable[[], Config], secrets: Secrets) -> Watch | None:
        """What notes every call; None where nothing is to be noted."""
        if self.tracer is None and self.access is None:
            return None
        users = Users(secrets) if self.access is not None else None
        return Watch(self.wish.sampler, self.tracer, self.access, config=config, users=users)

    def watch_runs(self) -> RunWatch | None:
        """What notes every run of a queued request; None where nothing is to be noted."""
        if self.tracer is None and self.access is None:
            return None
        return RunWatch(self.tracer, self.access)

    def gauges(self) -> dict[str, Gauge]:
        """How the telling itself fares."""
        access = self.access
        return {} if access is None else {"log_dropped": lambda: access.dropped}

    def publisher(self, publisher: Publisher) -> Publisher:
        """The same, with spans where there is a tracer."""
        return publisher if self.tracer is None else TracedPublisher(publisher, self.tracer, self.system)

    def handle(self, name: str, handle: Handle) -> Handle:
        """The same handler, with spans where there is a tracer."""
        return handle if self.tracer is None else traced(handle, self.tracer, name, self.system)

    def send(self, read: Callable[[], Iterable[Reading]], workers: Workers, stack: AsyncExitStack) -> None:
        """Begins to send figures, where they are wanted."""
        if self.resource is None or not self.wish.metrics_url:
            return
        from services.telemetry.otlp import OtlpFigures  # noqa: PLC0415  (half a second)

        figures = OtlpFigures(self.wish.metrics_url, self.resource, read, self.wish.every_s)
        stack.push_async_callback(figures.close)
        workers.start(figures.run(), "figures")


SILENT = Telemetry(wish=Wish(), tracer=None, access=None, resource=None, system="")


def telemetry(
    settings: Settings, wish: Wish, *, service: str, instance: str, system: str, stack: AsyncExitStack
) -> Telemetry:
    """What `wish` and `settings` ask for; `stack` closes it. Raises `Invalid` where the libraries for it are
    not installed.
    """
    tracer, resource = None, None
    if wish.traces_url or wish.metrics_url:
        try:
            from services.telemetry import otlp  # noqa: PLC0415  (half a second)
        except ModuleNotFoundError as error:
            raise Invalid(
                f"{ENDPOINT} is set, but OpenTelemetry is not installed here ({error.name} is missing): "
                "install the extra `otel`, or unset it."
            ) from error
        resource = otlp.resource_of(
            {
                names.SERVICE_NAME: wish.service or service,
                names.SERVICE_VERSION: version(),
                names.SERVICE_INSTANCE: instance,
            }
        )
        if wish.traces_url:
            spans = otlp.OtlpSpans(wish.traces_url, resource)
            stack.push_async_callback(spans.close)
            tracer = Tracer(spans)
    access = _access(settings, wish)
    if access is not None:
        stack.push_async_callback(access.close)
    return Telemetry(wish=wish, tracer=tracer, access=access, resource=resource, system=system)


def _access(settings: Settings, wish: Wish) -> AccessLog | None:
    json = in_json(settings.log_format, wish.project)
    if settings.access_log == "off" or (settings.access_log is None and not json):
        return None
    return AccessLog(as_json(wish.project) if json else as_text)
