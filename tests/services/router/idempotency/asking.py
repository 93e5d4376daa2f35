"""Calls under a key at routers on shared stores."""

from typing import Any

from functions.request.idempotency import KeyedCall
from tests.support.client import Response
from tests.support.keyed import StoredRuns
from tests.support.platform import eventually
from tests.support.routing import Routed
from tests.support.wire import DONE, chat, delta

KEY = {"idempotency-key": "order-17"}
STREAM = (delta("Hel"), delta("lo."), DONE)


async def ask(router: Routed, text: str = "Hi.", key: str = "order-17", **more: Any) -> Response:
    return await router.call(chat(text, **more), {"idempotency-key": key})


def said(answer: Response) -> tuple[int, str]:
    return answer.status, answer.error["code"]


async def none_under_way(router: Routed) -> None:
    async def none() -> bool:
        return router.runs is not None and router.runs.under_way == 0

    await eventually(none)


def the_call(keyed: StoredRuns) -> KeyedCall:
    (stored,) = keyed.calls._calls.values()
    return stored.call
