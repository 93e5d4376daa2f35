"""Idempotency keys: what a key may look like, what is known of a call under one, and what that means."""

import hmac
from datetime import datetime, timedelta
from typing import Literal

from events.words import Problem, Record, Refusal
from functions.request.mistakes import quoted

HEADER = "idempotency-key"
KIND = "idempotent"  # what a result is sealed as, and the purpose of the secret that names calls
LONGEST = 255

State = Literal["running", "answered", "unkept", "queued"]
Verdict = Literal["mine", "dead", "running", "answered", "unkept", "queued", "other"]


class KeyedCall(Record):
    """What a store keeps of a call under an idempotency key. Neither the key nor the body can be read from
    it: `id` and `fingerprint` are hashes under a secret of the tenant's.

    `running`: the process `owner` makes the answer, and says so again before `lease_until`. `answered`: the
    result lies in the body store under `run`. `unkept`: it was answered, but the answer was too large to be
    kept. `queued`: `run` is the id of the request that was queued. `run` is another one each time the answer
    is made. `expire_at`: forgotten after.
    """

    id: str
    tenant: str
    fingerprint: str
    owner: str
    run: str
    lease_until: datetime
    expire_at: datetime
    state: State = "running"


class Stored(Record):
    """A call as it is stored, and the version of that."""

    call: KeyedCall
    version: int


def named(secret: bytes, key: str) -> str:
    """The id of calls under a key; `secret` is the tenant's."""
    return _hash(secret, b"key", key.encode())


def fingerprint(secret: bytes, path: bytes, body: bytes) -> str:
    """What is the same for the same body at the same endpoint, and for no other."""
    return _hash(secret, b"call", path, body)


def _hash(secret: bytes, *parts: bytes) -> str:
    sized = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hmac.digest(secret, sized, "sha256").hex()


def judge(found: KeyedCall, mine: KeyedCall, now: datetime, *, skew_s: float, alone: bool) -> Verdict:
    """What is to be done about `mine`, where `found` is stored under its key.

    A running call is `dead` once its lease is over by more than clocks may differ; at once where its owner is
    this process, which does not run it, or where this process is `alone` on its store.
    """
    if found.run == mine.run:
        return "mine"
    if found.fingerprint != mine.fingerprint:
        return "other"
    if found.state != "running":
        return found.state
    over = now > found.lease_until + timedelta(seconds=skew_s)
    return "dead" if over or alone or found.owner == mine.owner else "running"


def read_key(value: str) -> str | Refusal:
    """The key of a header, exactly as it is written; two calls that are to be one have to write it alike."""
    if not value:
        return _malformed("is empty: send a value of your own, such as a UUID, or leave it out")
    if len(value) > LONGEST:
        return _malformed(f"has {len(value)} characters, and may have {LONGEST}: send a UUID, for example")
    if "," in value:
        return _malformed("holds a comma, as when it was sent twice: send one key, without commas")
    if not (value.isascii() and value.isprintable()):
        return _malformed(f"is {quoted(value)}: use printable ASCII characters only")
    return value


def _malformed(what: str) -> Refusal:
    return Refusal(
        status=400,
        problem=Problem(
            message=f"The header Idempotency-Key {what}.", code="invalid_idempotency_key", param=HEADER
        ),
    )


OTHER_BODY = Refusal(
    status=422,
    problem=Problem(
        message="This Idempotency-Key was used before, with another body or at another endpoint. "
        "Send a new key with a new call, and the same body with the same key.",
        code="idempotency_key_reused",
        param=HEADER,
    ),
)
IN_USE = Refusal(
    status=409,
    problem=Problem(
        message="The first call with this Idempotency-Key is still running; ask again for its answer.",
        code="idempotency_key_in_use",
        param=HEADER,
    ),
    retry_after_s=2,
)
NOT_KEPT = Refusal(
    status=410,
    problem=Problem(
        message="The first call with this Idempotency-Key was answered, but its answer was too large to be "
        "kept. If you need another one, send a new key.",
        code="idempotency_result_not_kept",
        param=HEADER,
    ),
)
