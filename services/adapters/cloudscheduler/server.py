"""Reading and changing the jobs of Cloud Scheduler: for a command, for it blocks."""
# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-call"

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from events.words import Conflict, Invalid, PenstockError, Unavailable
from services.adapters.cloudscheduler.plan import Found, Schedule, Step

TIMEOUT_S = 30.0
NO_IDENTITY = "This process has no Google identity; on a laptop: gcloud auth application-default login."
UTC = frozenset({"", "utc", "etc/utc"})

# Which field of the API holds each of ours.
_FIELDS = {
    "description": "description",
    "schedule": "schedule",
    "zone": "time_zone",
    "topic": "pubsub_target",
    "attributes": "pubsub_target",
    "data": "pubsub_target",
    "retries": "retry_config",
}

T = TypeVar("T")


class CloudScheduler:
    """The jobs of one project at one location, through the official client, imported when one is made.

    It acts as the process's own identity; on `server` (host:port), which stands in for Google's, as nobody.
    Raises `Unavailable` where Cloud Scheduler cannot be reached or the identity may not, `Invalid` where it
    refuses what is asked for.
    """

    def __init__(
        self, project: str, location: str, *, server: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._project = project
        self._parent = f"projects/{project}/locations/{location}"
        self._client = _client(server)
        self._bounds = _bounds(timeout_s)

    def close(self) -> None:
        """Ends its connections."""
        self._client.transport.close()

    def read(self) -> list[Found]:
        """Every job there is, ours or not."""
        jobs = self._ask(
            self._parent, lambda: list(self._client.list_jobs({"parent": self._parent}, **self._bounds))
        )
        return [self._found(job) for job in jobs]

    def apply(self, steps: Iterable[Step]) -> list[Step]:
        """Creates and updates; returns the steps that were done. It may be run again at any time.

        Where some steps fail the others are done all the same, and the first failure is raised.
        """
        todo = [step for step in steps if step.verb in ("create", "update")]
        failures: list[PenstockError] = []
        for step in todo:
            try:
                self._ask(f"job {step.name}", partial(self._do, step))
            except PenstockError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return todo

    def _do(self, step: Step) -> None:
        assert step.wished is not None
        job = self._job(step.wished)
        if step.verb == "create":
            self._client.create_job({"parent": self._parent, "job": job}, **self._bounds)
        else:
            self._client.update_job({"job": job, "update_mask": _mask(step.changed)}, **self._bounds)

    def _job(self, schedule: Schedule) -> dict[str, Any]:
        return {
            "name": f"{self._parent}/jobs/{schedule.name}",
            "description": schedule.description,
            "schedule": schedule.schedule,
            "time_zone": schedule.zone,
            "pubsub_target": {
                "topic_name": f"projects/{self._project}/topics/{schedule.topic}",
                "attributes": schedule.attributes,
                "data": schedule.data,
            },
            "retry_config": {"retry_count": schedule.retries},
        }

    def _found(self, job: Any) -> Found:
        target = job.pubsub_target
        schedule = Schedule(
            name=job.name.rpartition("/")[2],
            description=job.description,
            schedule=job.schedule,
            zone="UTC" if job.time_zone.lower() in UTC else job.time_zone,
            topic=target.topic_name.removeprefix(f"projects/{self._project}/topics/"),
            attributes=dict(target.attributes),
            data=target.data,
            retries=job.retry_config.retry_count,
        )
        return Found(schedule=schedule, paused=job.state.name == "PAUSED")

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

        try:
            return call()
        except GoogleAuthError as error:
            raise Unavailable(NO_IDENTITY) from error
        except GoogleAPIError as error:
            raise _in_our_words(error, what) from error


def _client(server: str | None) -> Any:
    try:
        import google.auth.exceptions  # noqa: PLC0415
        import grpc  # noqa: PLC0415
        from google.cloud.scheduler_v1 import CloudSchedulerClient  # noqa: PLC0415
    except ImportError as error:
        raise Invalid(
            f"The package for Cloud Scheduler is missing ({error}); install penstock with its extra: cloud."
        ) from error
    if server is not None:
        transport = CloudSchedulerClient.get_transport_class("grpc")
        return CloudSchedulerClient(transport=transport(channel=grpc.insecure_channel(server)))
    try:
        return CloudSchedulerClient()
    except google.auth.exceptions.GoogleAuthError as error:
        raise Unavailable(NO_IDENTITY) from error


def _bounds(timeout_s: float) -> dict[str, Any]:
    """How long a call may take, tries after a failed connection included."""
    from google.api_core.exceptions import ServiceUnavailable  # noqa: PLC0415
    from google.api_core.retry import Retry, if_exception_type  # noqa: PLC0415

    retry = Retry(predicate=if_exception_type(ServiceUnavailable), initial=0.2, timeout=timeout_s)
    return {"retry": retry, "timeout": timeout_s}


def _mask(changed: Sequence[str]) -> dict[str, list[str]]:
    return {"paths": sorted({_FIELDS[name] for name in changed})}


def _in_our_words(error: Any, what: str) -> PenstockError:
    """Here the server's own sentence is told: it speaks of names and settings only."""
    from google.api_core import exceptions  # noqa: PLC0415

    sentence = (getattr(error, "message", "") or type(error).__name__).rstrip(".")
    if isinstance(error, (exceptions.Forbidden, exceptions.Unauthorized)):
        return Unavailable(
            f"This identity may not touch the {what} (role roles/cloudscheduler.admin): {sentence}."
        )
    if isinstance(error, (exceptions.NotFound, exceptions.AlreadyExists)):
        return Conflict(f"The {what} is not as planned; run this again: {sentence}.")
    if isinstance(error, exceptions.ClientError) and not isinstance(error, exceptions.TooManyRequests):
        return Invalid(f"Cloud Scheduler refuses the {what}: {sentence}.")
    return Unavailable(f"Cloud Scheduler did not answer for the {what}: {sentence}.")
