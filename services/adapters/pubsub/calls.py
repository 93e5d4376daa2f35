"""Single calls to Pub/Sub: bounded in time, and tried again while that can help."""

import asyncio
from random import Random
from typing import Any

import grpc.aio

from services.adapters.pubsub.connection import Channel, in_our_words, may_pass

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class Backoff:
    """Pauses between tries: at random up to a bound that doubles, so that many who failed together
    do not come back together.
    """

    def __init__(self, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S) -> None:
        self._first_s = self._bound_s = first_s
        self._longest_s = longest_s
        self._random = Random()  # noqa: S311  (spreads load, guards nothing)

    def next_s(self) -> float:
        """The pause before the next try, in seconds."""
        bound_s = self._bound_s
        self._bound_s = min(self._longest_s, bound_s * 2)
        return self._random.uniform(bound_s / 2, bound_s)

    def reset(self) -> None:
        """The last try succeeded."""
        self._bound_s = self._first_s


class Call:
    """One method of the service, such as `Publisher/Publish`."""

    def __init__(self, channel: Channel, method: str, request: Any, response: Any) -> None:
        self._send = channel.unary_unary(
            f"/google.pubsub.v1.{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    async def __call__(self, request: object, what: str, *, until: float) -> Any:
        """The response; at `until` (the running loop's time) it gives up.

        `what` names the topic or subscription in the errors: `Unavailable`, or `Invalid` where the
        server refuses the request as such.
        """
        now = asyncio.get_running_loop().time
        backoff = Backoff()
        while True:
            try:
                return await self._send(request, timeout=max(0.0, until - now()))
            except grpc.aio.AioRpcError as error:
                pause_s = backoff.next_s()
                if not may_pass(error) or now() + pause_s >= until:
                    raise in_our_words(error, what) from error
            await asyncio.sleep(pause_s)
