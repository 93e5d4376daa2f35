"""What a caller demands of the cache: the directives of a request's `Cache-Control` (RFC 9111, 5.2.1)."""

from events.words import Problem, Record, Refusal

FOREVER_S = float("inf")


class Directives(Record):
    """`no_cache`: ask the engine. `no_store`: and keep nothing. `max_age_s`: no answer older than that.
    `only_if_cached`: an answer of the cache or none.
    """

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age_s: float = FOREVER_S


NOTHING = Directives()
NOT_CACHED = Refusal(
    status=504,
    problem=Problem(
        message="No cached answer fits; leave only-if-cached out of cache-control to have one made.",
        code="not_cached",
    ),
)


def directives_of(header: bytes) -> Directives:
    """The directives that are known here, of a header or of none; an age that is no number is 0."""
    if not header:
        return NOTHING
    found: dict[str, str] = {}
    for part in header.decode("latin-1").lower().split(","):
        name, _, value = part.partition("=")
        found[name.strip()] = value.strip().strip('"')
    return Directives(
        no_cache="no-cache" in found,
        no_store="no-store" in found,
        only_if_cached="only-if-cached" in found,
        max_age_s=_seconds(found["max-age"]) if "max-age" in found else FOREVER_S,
    )


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0
