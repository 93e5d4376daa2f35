"""The router's endpoints behind one front: the hot path by table, everything else by Starlette."""

from collections.abc import Mapping

from services.front.asgi import App, AsgiBridge
from services.front.call import Call, Endpoint, Reply
from services.router.watch import Watch
from services.wire.errors import render_refusal


class Router:
    """An endpoint for a front; `hot` maps paths to plain endpoints, `bridge` answers all others. `watch` sees
    every call first.
    """

    def __init__(self, hot: Mapping[bytes, Endpoint], app: App, watch: Watch | None = None) -> None:
        self._hot = hot
        self._watch = watch
        self.bridge = AsgiBridge(app, render_refusal=render_refusal)

    def __call__(self, call: Call, reply: Reply) -> None:
        """Answers one call."""
        if self._watch is not None:
            reply = self._watch(call, reply)
        try:
            self._hot.get(call.path, self.bridge)(call, reply)
        except Exception:
            if call.watched is not None:
                call.watched.failed()  # the front answers, and not by this reply
            raise

    async def close(self) -> None:
        """Ends what the bridge still runs."""
        await self.bridge.close()
