"""The answers of `/v1/models` and `/v1/models/{id}`."""

import msgspec

from services.rehearsal.asked.checks import Served


def model(served: Served) -> bytes:
    """The one model."""
    told = {
        "id": served.model,
        "object": "model",
        "created": served.created,
        "owned_by": "penstock-rehearsal",
        "max_model_len": served.context,
    }
    return msgspec.json.encode(told)


def models(served: Served) -> bytes:
    """The list of it."""
    return b'{"object":"list","data":[%b]}' % model(served)
