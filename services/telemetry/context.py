"""Where a call belongs in a trace: the `traceparent` of W3C Trace Context, and which calls are sampled."""

import os
import random
import re
from collections.abc import Callable

from events.words import Invalid, Record

# A later version may say more behind the flags. https://www.w3.org/TR/trace-context
TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
FIRST_VERSION = b"00-"
SIZE = 55  # of the first version
RATIO = 0.01  # of the calls that no caller decided about, unless another is set
HALF = 2**64


class Context(Record):
    """A span as others refer to it: ids are lower-case hex of 16 and 8 bytes."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def header(self) -> bytes:
        """The value of a `traceparent` that makes this span the parent."""
        return b"00-%b-%b-%b" % (
            self.trace_id.encode(),
            self.span_id.encode(),
            b"01" if self.sampled else b"00",
        )


def context_in(header: bytes | None) -> Context | None:
    """The context a `traceparent` tells; None where there is none, or one that is malformed."""
    if not header:
        return None
    found = TRACEPARENT.fullmatch(header)
    if found is None or (header.startswith(FIRST_VERSION) and len(header) != SIZE):
        return None
    trace_id, span_id, flags = found[1].decode(), found[2].decode(), int(found[3], 16)
    return Context(trace_id=trace_id, span_id=span_id, sampled=bool(flags & 1))


def new_span_id() -> str:
    """A random one."""
    return os.urandom(8).hex()


def new_trace_id() -> str:
    """A random one."""
    return os.urandom(16).hex()


class Sampler(Record):
    """Which calls are traced: `ratio` of them. With `by_parent`, a caller that sends a `traceparent` has
    decided.
    """

    ratio: float = RATIO
    by_parent: bool = True

    def samples(self, parent: Context | None, chance: Callable[[], float] = random.random) -> bool:
        """Whether this call is. By a trace id all services with one ratio decide alike; without one, chance
        does.
        """
        if parent is None:
            return chance() < self.ratio
        if self.by_parent:
            return parent.sampled
        return int(parent.trace_id[16:], 16) < self.ratio * HALF


def sampler_of(name: str, argument: str) -> Sampler:
    """The sampler that OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say. Raises `Invalid`."""
    kind = name.strip().lower() or "parentbased_traceidratio"
    by_parent, plain = kind.startswith("parentbased_"), kind.removeprefix("parentbased_")
    match plain:
        case "always_on":
            return Sampler(ratio=1.0, by_parent=by_parent)
        case "always_off":
            return Sampler(ratio=0.0, by_parent=by_parent)
        case "traceidratio":
            return Sampler(ratio=_ratio(argument, 1.0 if name else RATIO), by_parent=by_parent)
    raise Invalid(
        f"OTEL_TRACES_SAMPLER is {name!r}; use always_on, always_off or traceidratio, alone or behind "
        "parentbased_."
    )


def _ratio(text: str, otherwise: float) -> float:
    try:
        ratio = float(text or otherwise)
    except ValueError:
        ratio = -1.0
    if 0 <= ratio <= 1:
        return ratio
    raise Invalid(f"OTEL_TRACES_SAMPLER_ARG is {text!r}; use a number from 0 to 1.")
