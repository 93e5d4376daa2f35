"""An example of every event, for the reference."""

from datetime import UTC, datetime, timedelta

import msgspec

from events.answer import AnswerDue, AnswerReady, Response
from events.backup import BackupCompleted, BackupFailed
from events.cache import CacheOffered, CachePurged
from events.catalog import JOBS
from events.envelope import Event
from events.fleet import (
    BackendCalls,
    BackendPressure,
    FleetAdvised,
    FleetReported,
    LaneLoad,
    LanePressure,
    Load,
    PressureReported,
    ReplicaCalls,
)
from events.inference import InferenceCompleted, InferenceRequested, InferenceRouted
from events.ingest import IngestReceived
from events.jobs import JobDue
from events.usage import Completed, Started, UsageRecorded
from events.words import Usage, hashed_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_COMPLETION = b'{"object": "chat.completion", "choices": [{"message": {"content": "Hello."}}]}'
_REQUEST = "req_" + hashed_id(("example",))

# Who says it, and what.
EXAMPLES: tuple[tuple[str, Event], ...] = (
    (
        "/functions/request",
        InferenceRequested(request_id=_REQUEST, tenant="acme", model="gemma-3-4b", lane="batch"),
    ),
    (
        "/router",
        InferenceRouted(
            request_id=_REQUEST, tenant="acme", model="gemma-3-4b", backend="pool", lane="batch",
            deadline_at=NOON,
        ),
    ),
    (
        "/dispatcher",
        InferenceCompleted(
            request_id=_REQUEST, tenant="acme", status="completed", attempts=1, model="gemma-3-4b",
            status_code=200, body_id=f"{_REQUEST}-answer",
        ),
    ),
    ("/dispatcher", AnswerDue(request_id=_REQUEST, tenant="acme")),
    (
        "/functions/delivery",
        AnswerReady(
            id=_REQUEST, object="request", status="completed", created_at=int(NOON.timestamp()),
            expires_at=int(NOON.timestamp()) + 86_400, model="gemma-3-4b", lane="batch",
            response=Response(status_code=200, body=msgspec.Raw(_COMPLETION)), error=None,
            custom_id="order-4711",
        ),
    ),
    (
        "/router",
        UsageRecorded(
            producer="router-7f3a",
            records=(
                Started(
                    attempt="req_5e1f.1", request="req_5e1f", tenant="acme", key="key_1",
                    model="gemma-3-4b", backend="pool", at=NOON, estimate=12,
                ),
                Completed(
                    attempt="req_5e1f.1", request="req_5e1f", tenant="acme", key="key_1",
                    model="gemma-3-4b", backend="pool", at=NOON, outcome="finished",
                    usage=Usage(input=11, output=42), billed=True, duration_ms=830, first_byte_ms=140,
                ),
            ),
        ),
    ),
    (
        "/scheduler",
        JobDue(
            job=JOBS[0].name, slot=NOON, previous=NOON - timedelta(seconds=15),
            until=NOON + timedelta(seconds=15),
        ),
    ),
    (
        "/functions/backup",
        BackupCompleted(
            backup_id="20260101T120000.000Z-5e1f7a3b", taken_at=NOON, data_bytes=48_213_504,
            data_keys_bytes=1_874,
        ),
    ),
    (
        "/functions/backup",
        BackupFailed(backup_id="20260101T120000.000Z-5e1f7a3b", reason="The disk is full."),
    ),
    (
        "/dispatcher",
        PressureReported(
            producer="dispatcher-0c4e", window_s=10.0, slots=16,
            backends=(
                BackendPressure(
                    backend="pool", replicas=1,
                    lanes=(
                        LanePressure(
                            lane="interactive", queued=18, oldest_s=34.2, running=4.0, arrived=7, finished=6,
                            service_s=6.2, output=1_140,
                        ),
                        LanePressure(lane="batch"),
                    ),
                ),
            ),
        ),
    ),
    (
        "/router",
        FleetReported(
            producer="router-7f3a", window_s=10.0,
            backends=(
                BackendCalls(
                    backend="pool", replicas=(ReplicaCalls(url="http://10.0.0.5:8000", in_flight=1.3),)
                ),
            ),
        ),
    ),
    (
        "/functions/autoscale",
        FleetAdvised(
            backend="pool", wanted=3, now=1, min=1, max=5,
            reason=(
                "3 replicas: 41 requests a minute at 6.2 s each keep 4.2 slots busy, 18 wait (the oldest for "
                "34 s); a replica has 4 slots, 1 is there."
            ),
            load=Load(
                lanes=(
                    LaneLoad(
                        lane="interactive", arrivals_per_s=0.68, ahead_per_s=0.68, service_s=6.2, queued=18,
                        oldest_s=34.2, running=4.0,
                    ),
                ),
                dispatch_slots=16,
            ),
        ),
    ),
    (
        "/router",
        CacheOffered(
            key="5e1f7a3b0c4e8d2a61b79f3c5d0e4a8b2c6d1f90", tenant="acme", model="gemma-3-4b",
            entry_id="5e1f7a3b0c4e8d2a61b79f3c5d0e4a8b2c6d1f90-0.0.0.0", expire_at=NOON, sealed=b"sealed",
        ),
    ),
    ("/router", CachePurged(scope="model", name="gemma-3-4b")),
    ("/ingest", IngestReceived(tenant="acme", key_id="ingest-acme", message_id="1029384756", body=b"{}")),
)  # fmt: skip
