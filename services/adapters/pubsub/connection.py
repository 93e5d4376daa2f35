"""The gRPC channel to Pub/Sub, and its errors in our words."""
# mypy: disable-error-code="no-untyped-call"

import asyncio
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio

from events.words import Invalid, PenstockError, Unavailable

HOST = "pubsub.googleapis.com:443"
SCOPES = ("https://www.googleapis.com/auth/pubsub",)
OPTIONS = (
    ("grpc.enable_retries", 0),  # ours know how much time is left
    ("grpc.max_receive_message_length", -1),  # a pull's answer may be large; a limit would end it for ever
    # A channel waits up to two minutes by default before it tries a server again that was away.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 3_000),
)

# Finds a connection that died without a word, as the official client does; the emulator takes it amiss.
KEEPALIVE = (("grpc.keepalive_time_ms", 30_000),)
NO_IDENTITY = "This process has no Google identity; on a laptop: gcloud auth application-default login."

Channel: TypeAlias = Any  # grpc.aio.Channel; the library has no types of its own


class LacksAnOperator(Unavailable):
    """Somebody has to make something, or to allow it, before a retry can help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which project, and whether an emulator stands in for Pub/Sub (`host:port`)."""

    project: str
    emulator: str | None = None

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"projects/{self.project}/topics/{name}"

    def subscription(self, name: str) -> str:
        """A subscription's full name."""
        return f"projects/{self.project}/subscriptions/{name}"


async def connect(place: Place) -> Channel:
    """A channel that connects at its first call; close it with `await channel.close()`.

    It acts as the process's own identity (google-auth's defaults); on an emulator as nobody. Raises
    `Unavailable` where the process has no identity.
    """
    if place.emulator:
        return grpc.aio.insecure_channel(place.emulator, options=OPTIONS)
    identity = await asyncio.to_thread(_own_identity)
    return grpc.aio.secure_channel(HOST, identity, options=(*OPTIONS, *KEEPALIVE))


def _own_identity() -> Any:
    # Not needed on an emulator; asks the machine's metadata server, so it may block.
    import google.auth.exceptions  # noqa: PLC0415
    import google.auth.transport.grpc  # noqa: PLC0415
    import google.auth.transport.requests  # noqa: PLC0415

    try:
        credentials, _ = google.auth.default(scopes=SCOPES)
    except google.auth.exceptions.GoogleAuthError as error:
        raise Unavailable(NO_IDENTITY) from error
    plugin = google.auth.transport.grpc.AuthMetadataPlugin(
        credentials, google.auth.transport.requests.Request()
    )
    return grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(), grpc.metadata_call_credentials(plugin)
    )


def in_our_words(error: grpc.aio.AioRpcError, what: str) -> PenstockError:
    """The error a caller can act on; `what` names a topic or a subscription.

    The server's own sentence is left out: it may repeat what was sent.
    """
    code = error.code()
    if code is grpc.StatusCode.NOT_FOUND:
        return LacksAnOperator(
            f"Pub/Sub has no {what}; make it with: penstock topics apply (a tenant's with: penstock tenants "
            "enable-ingest)."
        )
    if code in _DENIED:
        return LacksAnOperator(f"Pub/Sub does not let this process use the {what} ({_name(code)}).")
    if code in _NOT_TAKEN:
        return Invalid(f"Pub/Sub does not take what was sent for the {what} ({_name(code)}).")
    return Unavailable(f"Pub/Sub did not answer for the {what} ({_name(code)}).")


def may_pass(error: grpc.aio.AioRpcError) -> bool:
    """Whether the same call may succeed a moment later."""
    return error.code() in _PASSING


def _name(code: grpc.StatusCode) -> str:
    return str(code.name).lower().replace("_", " ")


_DENIED = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED})
_NOT_TAKEN = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE})
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNKNOWN,
    }
)
