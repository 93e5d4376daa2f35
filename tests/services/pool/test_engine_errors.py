"""What a caller is told of an engine's error: its own mistake in full, ours without the inside."""

import pytest

from services.pool.engine_errors import refusal_of
from tests.support.wire import problem


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_callers_own_mistake_is_told_in_the_engines_words(status: int) -> None:
    body = problem("temperature must be at most 2.", code="bad_value", param="temperature")
    refusal = refusal_of(status, {}, body, "gemma")

    assert status == refusal.status
    assert ("temperature must be at most 2.", "invalid_request_error", "bad_value", "temperature") == (
        refusal.problem.message,
        refusal.problem.type,
        refusal.problem.code,
        refusal.problem.param,
    )


WORDS = {
    "an object": (b'{"error": {"message": "No."}}', "No."),
    "a text": (b'{"error": "No."}', "No."),
    "a bare message": (b'{"object": "error", "message": "No."}', "No."),
    "a number as code": (b'{"error": {"message": "No.", "code": 400}}', "No."),
    "nothing": (b"", "The engine refused the request with status 400."),
    "no JSON": (b"<html>Bad Request</html>", "The engine refused the request with status 400."),
    "another shape": (b'{"error": {"message": 5}}', "The engine refused the request with status 400."),
    "a list": (b"[]", "The engine refused the request with status 400."),
    "null": (b'{"error": null}', "The engine refused the request with status 400."),
    "bytes": (b'{"error": "\xff"}', "The engine refused the request with status 400."),
    "depth": (b'{"x": ' + b"[" * 5000, "The engine refused the request with status 400."),
}


@pytest.mark.parametrize(("body", "message"), WORDS.values(), ids=WORDS)
def test_an_error_is_read_in_every_shape_engines_give_it(body: bytes, message: str) -> None:
    assert message == refusal_of(400, {}, body, "gemma").problem.message


@pytest.mark.parametrize("status", [401, 403, 404, 405, 409, 418, 500, 501, 502, 504, 301, 204])
def test_every_other_error_is_ours_and_keeps_the_inside_to_itself(status: int) -> None:
    refusal = refusal_of(status, {}, problem("CUDA out of memory at 0x7f"), "gemma")

    assert (502, "engine_error", "server_error") == (
        refusal.status,
        refusal.problem.code,
        refusal.problem.type,
    )
    assert "CUDA" not in refusal.problem.message
    assert str(status) in refusal.problem.message


RETRY_AFTER = {
    "none": ({}, 1),
    "as most engines write it": ({b"Retry-After": b"7"}, 7),
    "seconds": ({b"retry-after": b"7"}, 7),
    "too long": ({b"retry-after": b"999999"}, 3600),
    "more digits than a number may have": ({b"retry-after": b"9" * 5000}, 3600),
    "a date": ({b"retry-after": b"Wed, 21 Oct 2026 07:28:00 GMT"}, 1),
    "negative": ({b"retry-after": b"-5"}, 1),
    "nonsense": ({b"retry-after": b"\xb2"}, 1),
}


def test_a_status_only_some_know_is_told_as_one_that_all_know() -> None:
    refusal = refusal_of(529, {}, b"", "gemma")

    assert (503, "engine_busy", 1) == (refusal.status, refusal.problem.code, refusal.retry_after_s)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("headers", "seconds"), RETRY_AFTER.values(), ids=RETRY_AFTER)
def test_a_busy_engine_says_when_to_come_back(status: int, headers: dict[bytes, bytes], seconds: int) -> None:
    refusal = refusal_of(status, headers, b"", "gemma")

    assert (status, "engine_busy", seconds) == (refusal.status, refusal.problem.code, refusal.retry_after_s)


def test_an_engine_that_repeats_the_whole_request_is_cut_short() -> None:
    body = problem("x" * 10**6, code="y" * 10**6, param="z" * 10**6)
    told = refusal_of(400, {}, body, "gemma").problem

    assert len(told.message) + len(told.code or "") + len(told.param or "") < 2000
