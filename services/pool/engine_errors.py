"""What a caller is told when an engine answers with an error."""

import msgspec

from events.words import Problem, Refusal, server_problem
from functions.request.mistakes import clipped
from services.pool.flight import Headers, value_of

MAX_WORDS = 1000  # characters of an engine's own words; some repeat the whole request

CALLERS_FAULT = frozenset({400, 413, 422})
BUSY = {429: 429, 503: 503, 529: 503}  # and what callers are told; 529 is nobody's but some engines''


class _Error(msgspec.Struct):
    message: str = ""
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    status: str | None = None  # Google's word for the code


class _Envelope(msgspec.Struct):
    error: _Error | str | None = None
    message: str | None = None


_envelope = msgspec.json.Decoder(_Envelope | list[_Envelope])  # Google's errors are lists of one


def refusal_of(status: int, headers: Headers, body: bytes, model: str) -> Refusal:
    """The refusal a caller gets: its own mistakes in the engine's words, ours without the inside."""
    error = _read(body)
    if status in CALLERS_FAULT:
        problem = Problem(
            message=clipped(error.message, MAX_WORDS)
            or f"The engine refused the request with status {status}.",
            code=clipped(str(code)) if (code := error.status or error.code) else None,
            param=clipped(error.param) if error.param else None,
        )
        return Refusal(status=status, problem=problem)
    if status in BUSY:
        problem = server_problem(f"The engine for {model} is busy; try again.", "engine_busy")
        return Refusal(status=BUSY[status], problem=problem, retry_after_s=asked_pause_s(headers) or 1)
    problem = server_problem(f"The engine for {model} failed with status {status}.", "engine_error")
    return Refusal(status=502, problem=problem)


def _read(body: bytes) -> _Error:
    try:
        told = _envelope.decode(body)
    except (ValueError, RecursionError):
        return _Error()
    envelope = told if isinstance(told, _Envelope) else next(iter(told), _Envelope())
    if isinstance(envelope.error, _Error):
        return envelope.error
    return _Error(message=envelope.error or envelope.message or "")


def asked_pause_s(headers: Headers) -> int | None:
    """The seconds an engine asks its callers to wait; None where it does not say."""
    value = value_of(headers, b"retry-after") or b""
    return min(int(value[:9]), 3600) if value.isdigit() else None  # Python reads no number of 5,000 digits
