"""The nouns every room shares: usage, lanes, the key ring's records and the four errors."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, dataclass_transform

import msgspec

Lane = Literal["interactive", "batch"]
Switch = Literal["off", "on"]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An immutable value, made by naming its fields; all structs of the contract derive from it.

    The garbage collector does not look at them: values that cannot change cannot form a circle.
    """


class Usage(Record):
    """Token counts of one attempt; `cached` tokens are part of `input`, `reasoning` ones of `output`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cached=self.cached + other.cached,
            reasoning=self.reasoning + other.reasoning,
        )

    def __neg__(self) -> "Usage":
        return Usage(input=-self.input, output=-self.output, cached=-self.cached, reasoning=-self.reasoning)


class Tenant(Record):
    """Who pays. `id` is lower-case letters, digits and dashes, 1 to 40 long. `cache`: whether answers may be
    kept for them, and given again. `may_leave`: whether their prompts may go to hosted backends, outside the
    VPC.
    """

    id: str
    name: str
    created_at: datetime
    cache: Switch = "off"
    may_leave: Switch = "off"


class ApiKey(Record):
    """What is stored of an API key: never the key itself, only the SHA-256 of it (`hash`, hex).

    `id` is public and names the key in usage reports. A key is usable from `created_at` until
    `expires_at` or `revoked_at`, whichever comes first.
    """

    hash: str
    id: str
    tenant: str
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def usable_at(self, now: datetime) -> bool:
        """Whether the key may act at `now`."""
        return (self.revoked_at is None or now < self.revoked_at) and (
            self.expires_at is None or now < self.expires_at
        )


class Problem(Record):
    """Why a request was not answered, in the fields of OpenAI's error object."""

    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None


def server_problem(message: str, code: str) -> Problem:
    """Something on our side of the wire."""
    return Problem(message=message, type="server_error", code=code)


class Refusal(Record):
    """A verdict against a request: the HTTP status it becomes, and the problem that explains it.

    `retry_after_s` is set where waiting helps; without it a retry cannot help.
    """

    status: int
    problem: Problem
    retry_after_s: int | None = None


class PenstockError(Exception):
    """Something Penstock could not do."""


class Invalid(PenstockError):
    """The input can never be accepted as it is; trying again cannot help."""


class Refused(PenstockError):
    """The input is fine, but a limit forbids it now."""


class Unavailable(PenstockError):
    """A part that is needed did not answer; trying again may help."""


class Conflict(PenstockError):
    """Somebody else changed the same thing first."""


def hashed_id(parts: Iterable[str]) -> str:
    """A stable id of 32 hex digits for these parts; the same parts give the same id on every machine."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def attempt_id(request_id: str, number: int) -> str:
    """The billing identity of the `number`-th call (from 1) made to a backend for a request."""
    return f"{request_id}.{number}"
