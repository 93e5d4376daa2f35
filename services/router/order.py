"""What an exchange is to do, and how long each of its phases may take."""

from dataclasses import dataclass, replace
from typing import Literal

from events.config import Deadlines as Own
from events.config import Model
from events.words import ApiKey, Problem, Record, server_problem
from services.router.idempotency.later import Later
from services.wire.fields import Fields

CONNECT_TIMEOUT = "connect_timeout"
REHEARSAL: Fields = b"x-penstock-engine: rehearsal\r\n"

NONE_OWN = Own()

Phase = Literal["pausing", "connecting", "waiting", "answering", "answered", "over"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long each phase may take, in seconds. After `commit_after_s` without a part of its answer, a
    stream is begun and kept alive.
    """

    commit_after_s: float = 10.0
    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 900.0
    progress_every_s: float = 5.0
    answer_bytes: int = 64 * 2**20

    def of(self, model: Model) -> "Deadlines | None":
        """These, but for those that the model has of its own; None where it has none."""
        own = model.deadlines
        if own == NONE_OWN:
            return None
        told = {name: value for name in own.__struct_fields__ if (value := getattr(own, name)) is not None}
        return replace(self, **told)

    def late(self, phase: Phase, total_s: float, silent_s: float) -> Problem | None:
        """What a request is told that has run `total_s`, the last `silent_s` of them in silence; None
        while it is in time.
        """
        if total_s > self.total_s:
            return _late("finish", self.total_s, "total_timeout")
        match phase:
            case "connecting" if silent_s > self.connect_s:
                return _late("accept a connection", self.connect_s, CONNECT_TIMEOUT)
            case "waiting" if silent_s > self.first_byte_s:
                return _late("answer", self.first_byte_s, "first_byte_timeout")
            case "answering" if silent_s > self.idle_s:
                return _late("go on", self.idle_s, "idle_timeout")
        return None


def _late(what: str, within_s: float, code: str) -> Problem:
    return server_problem(f"The engine did not {what} within {within_s:g} s.", code)


class Order(Record):
    """What is to be done: who asks, for which model, where, and what goes over the wire. `later`: it has an
    idempotency key. Should this process die, it is asked for again; and its bill waits for its result.
    """

    request_id: str
    key: ApiKey
    model: str
    backend: str
    path: str
    body: bytes
    stream: bool
    wants_usage: bool
    input_estimate: int
    fields: Fields = b""  # for the engine
    reply_fields: Fields = b""  # for the client
    route: Fields = b""  # the line that tells it the place; without its end, as a replica may follow
    deadlines: Deadlines | None = None  # where the model has its own
    later: Later | None = None
