"""What every refusal has in common."""

import re

from tests.support.client import Response

REQUEST_ID = re.compile(r"req_[0-9a-f]{24}")
HOPELESS = frozenset({400, 401, 403, 404, 405, 413, 415, 422})
INSIDE = ("Traceback", ".py", "services.", "Error(", "object at 0x")  # what callers are never told


def refusal(answer: Response, status: int, code: str | None, param: str | None = None) -> str:
    """The message of an answer, once it is proved to be this refusal in OpenAI's envelope."""
    assert status == answer.status, answer.body
    assert "application/json" == answer.headers["content-type"]
    assert REQUEST_ID.fullmatch(answer.headers["x-request-id"])
    assert ("false" if status in HOPELESS else None) == answer.headers.get("x-should-retry")
    assert (status in (429, 503)) == ("retry-after" in answer.headers)
    assert ["error"] == list(answer.json)
    error = answer.error
    assert {"message", "type", "param", "code"} == set(error)
    assert (code, param) == (error["code"], error["param"])
    assert ("invalid_request_error" if status < 500 else "server_error") == error["type"]
    message: str = error["message"]
    assert message.endswith(".")
    assert not any(word in message for word in INSIDE)
    return message
