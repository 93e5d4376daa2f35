"""Cloud Scheduler on a local port: the methods we use, in the service's own messages. There is no emulator.

It keeps jobs as the real one does: it fills in what was not said, takes only what an update names, and
refuses names, schedules, zones and topics that are none.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

import grpc
from cronsim import CronSim, CronSimError
from google.cloud.scheduler_v1 import types
from google.protobuf.field_mask_pb2 import FieldMask

SERVICE = "google.cloud.scheduler.v1.CloudScheduler"
NAME = re.compile(r"projects/[^/]+/locations/[^/]+/jobs/[A-Za-z0-9_-]{1,500}")
TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
PAGE = 2  # so that there are several


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, told: str) -> None:
        super().__init__(told)
        self.code = code


@dataclass
class Server:
    """What it keeps, and what was asked of it. `wills`: how the next calls fail instead."""

    address: str = ""
    jobs: dict[str, types.Job] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    masks: list[list[str]] = field(default_factory=list)
    wills: list[grpc.StatusCode | None] = field(default_factory=list)

    def list_jobs(self, request: types.ListJobsRequest) -> types.ListJobsResponse:
        names = sorted(name for name in self.jobs if name.startswith(f"{request.parent}/jobs/"))
        first = int(request.page_token or 0)
        more = str(first + PAGE) if first + PAGE < len(names) else ""
        page = [self.jobs[name] for name in names[first : first + PAGE]]
        return types.ListJobsResponse(jobs=page, next_page_token=more)

    def create_job(self, request: types.CreateJobRequest) -> types.Job:
        job = request.job
        if not job.name.startswith(f"{request.parent}/jobs/"):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Job name must be of the parent.")
        if job.name in self.jobs:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Job {job.name} already exists.")
        return self.keep(job)

    def update_job(self, request: types.UpdateJobRequest) -> types.Job:
        there = self.jobs.get(request.job.name)
        if there is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Job {request.job.name} not found.")
        mask: FieldMask = types.UpdateJobRequest.pb(request).update_mask
        self.masks.append(list(mask.paths))
        changed = types.Job(there)
        mask.MergeMessage(types.Job.pb(request.job), types.Job.pb(changed), replace_message_field=True)
        return self.keep(changed)

    def keep(self, given: types.Job) -> types.Job:
        """The job as it is kept: checked, with what the server adds."""
        _check(given)
        job = types.Job(given)
        job.state = self.jobs[job.name].state if job.name in self.jobs else types.Job.State.ENABLED
        retry = job.retry_config
        retry.min_backoff_duration = retry.min_backoff_duration or timedelta(seconds=5)
        retry.max_backoff_duration = retry.max_backoff_duration or timedelta(hours=1)
        retry.max_doublings = retry.max_doublings or 5
        self.jobs[job.name] = job
        return job

    def handler(self, method: Callable[[Any], Any], request: Any, response: Any) -> grpc.RpcMethodHandler:
        def answer(asked: Any, context: grpc.ServicerContext) -> Any:
            self.calls.append(method.__name__)
            if self.wills and (will := self.wills.pop(0)) is not None:
                context.abort(will, "It was told to fail.")
            try:
                return method(asked)
            except Refused as refused:
                context.abort(refused.code, str(refused))

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=request.deserialize, response_serializer=response.serialize
        )


def _check(job: types.Job) -> None:
    def refuse(told: str) -> None:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, told)

    if not NAME.fullmatch(job.name):
        refuse("Job name must be formatted: projects/P/locations/L/jobs/J.")
    if not _is_cron(job.schedule):
        refuse(f"Schedule {job.schedule!r} is invalid.")
    if job.time_zone.lower() != "utc" and job.time_zone not in available_timezones():
        refuse(f"Time zone {job.time_zone!r} is invalid.")
    if job.pubsub_target and not TOPIC.fullmatch(job.pubsub_target.topic_name):
        refuse("Pubsub target topic name is invalid.")
    if not 0 <= job.retry_config.retry_count <= 5:
        refuse("Retry count must be between 0 and 5.")


def _is_cron(schedule: str) -> bool:
    try:
        CronSim(schedule, datetime(2027, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return len(schedule.split()) == 5


@contextmanager
def serving() -> Iterator[Server]:
    made = Server()
    server = grpc.server(ThreadPoolExecutor(4))
    methods = {
        "ListJobs": made.handler(made.list_jobs, types.ListJobsRequest, types.ListJobsResponse),
        "CreateJob": made.handler(made.create_job, types.CreateJobRequest, types.Job),
        "UpdateJob": made.handler(made.update_job, types.UpdateJobRequest, types.Job),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    made.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield made
    finally:
        server.stop(None).wait()
