"""What a caller is told of JSON that cannot be taken: what is wrong, where, and OpenAI's code for it."""

import msgspec

from events.words import Problem

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what decoding a body may raise
QUOTED = 100  # characters of a caller's text that a message repeats


def problem_of(error: Exception) -> Problem:
    """The problem with a body that could not be decoded: `error` is one of `UNREADABLE`."""
    if isinstance(error, msgspec.ValidationError):
        return _misshapen(str(error))
    if isinstance(error, UnicodeDecodeError):
        message = "The body is not UTF-8 text."
    elif isinstance(error, RecursionError):
        message = "The body is nested too deeply."
    else:
        message = f"The body is not valid JSON: {error}."
    return Problem(message=message, code="invalid_json")


def quoted(said: str | float) -> str:
    """What a caller said, as a message may repeat it: in quotes, and not longer than a line."""
    return repr(clipped(said)) if isinstance(said, str) else clipped(repr(said))


def clipped(text: str, most: int = QUOTED) -> str:
    """The text, or its beginning where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[:most]}…"


def _misshapen(told: str) -> Problem:
    """Reads msgspec's words: "Expected `str`, got `int` - at `$.messages[0].role`"."""
    reason, _, place = told.partition(" - at `")
    place = clipped(place.strip("`$."))
    what, _, field = reason.partition(" field `")
    if field:
        param = f"{place}.{clipped(field[:-1])}" if place else clipped(field[:-1])
        if what == "Object missing required":
            return Problem(message=f"{param} is required.", code="missing_required_parameter", param=param)
        return Problem(
            message=f"{param} is not known here; leave it out.", code="unknown_parameter", param=param
        )
    code = "invalid_type" if "`, got `" in reason else "invalid_value"
    return Problem(
        message=f"{clipped(reason)}{' in ' if place else ''}{place}.", code=code, param=place or None
    )
