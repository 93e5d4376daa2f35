"""What a call came to, as it is kept and told again."""

import msgspec

from events.words import Invalid, Record, Refusal
from services.front.call import Reply
from services.router.metrics import Metrics
from services.wire.errors import error_body, error_fields
from services.wire.fields import Fields, field
from services.wire.ids import request_id

REPLAYED: Fields = b"idempotent-replayed: true\r\n"
RETRY: Fields = b"x-should-retry: true\r\n"  # the official clients obey it


class Result(Record):
    """An answer as it went to the client, byte for byte: its header lines, and its body or its events. Its
    `status` is 202 where the call was queued.
    """

    fields: bytes
    body: bytes
    stream: bool
    status: int = 200


_result = msgspec.msgpack.Decoder(Result)


def packed(result: Result) -> bytes:
    """The bytes to be sealed."""
    return msgspec.msgpack.encode(result)


def unpacked(clear: bytes) -> Result:
    """The result. Raises `Invalid` where it was packed by another release."""
    try:
        return _result.decode(clear)
    except msgspec.DecodeError as error:
        raise Invalid(f"The stored result is not one of this release: {error}.") from error


def replay(result: Result, reply: Reply) -> None:
    """Gives the answer again, in the framing it had, and says so."""
    fields = result.fields + REPLAYED
    if result.stream:
        reply.start(result.status, fields)
        reply.write(result.body)
        reply.finish()
    else:
        reply.send(result.status, fields, result.body)


def refuse(refusal: Refusal, reply: Reply, metrics: Metrics) -> None:
    """Tells a refusal; a call that only has to be made again says so."""
    metrics.refused(refusal.status, refusal.problem.code or "")
    fields = field("x-request-id", request_id()) + error_fields(refusal)
    if refusal.status == 409:
        fields += RETRY
    reply.send(refusal.status, fields, error_body(refusal.problem))
