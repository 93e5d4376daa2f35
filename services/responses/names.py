"""The id of a response is that of its request under another name; there is no table of both."""

_RESPONSE, _REQUEST = "resp_", "req_"


def response_id(request_id: str) -> str:
    """What a caller knows the response of a request by."""
    return _RESPONSE + request_id.removeprefix(_REQUEST)


def request_id_of(response_id: str) -> str | None:
    """The request of a response; None where this cannot be the id of one."""
    return _REQUEST + response_id.removeprefix(_RESPONSE) if response_id.startswith(_RESPONSE) else None
