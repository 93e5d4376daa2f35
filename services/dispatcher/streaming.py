"""One attempt at a response whose events are journalled as the engine tells them."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

import msgspec

from events.requests import RequestDocument
from events.words import Problem, server_problem
from services.dispatcher.engine_call import EngineAnswer
from services.dispatcher.journalling import Insist, Journalling
from services.dispatcher.judgement import Judgement, judge, too_large
from services.dispatcher.ports import Ports
from services.dispatcher.stream_call import StreamCall
from services.guarding.asking import unchecked
from services.guarding.guard import Watching
from services.guarding.sieve import Sieve
from services.pool.flight import Failure
from services.pool.replica import Replica
from services.responses.stream import ResponseStream
from services.responses.told import Response

MUCH = 2**20  # bytes that wait to be journalled; the engine feels it


class Streaming:
    """`run` once. `tokens`: what the engine has said so far, by our own count."""

    def __init__(
        self,
        document: RequestDocument,
        response: Response,
        ports: Ports,
        insist: Insist,
        watching: Watching | None = None,
    ) -> None:
        self._document = document
        self._response = response
        self._ports = ports
        self._journal = Journalling(document, ports, insist)
        self._told = ResponseStream(response, self._now, ends=False)
        self._sieve = None if watching is None else Sieve(watching)
        self._unchecked: Problem | None = None  # why the guard could not read it
        self._call = StreamCall(self._take if self._sieve is None else partial(self._sift, self._sieve))

    def _now(self) -> int:
        return int(self._ports.now().timestamp())

    @property
    def tokens(self) -> int:
        """How many tokens of output came."""
        return self._call.stream.tokens if self._call.stream is not None else 0

    async def run(
        self, replica: Replica, path: str, fields: bytes, body: bytes, *, connect_s: float, total_s: float
    ) -> Judgement:
        """Raises `TimeoutError` after `total_s`, `Conflict` where somebody else makes the response."""
        self._told.number = await self._journal.begin()
        result = await self._journalled(
            self._call.run(replica, path, fields, body, connect_s=connect_s, total_s=total_s)
        )
        model, limit = self._document.model, self._ports.pace.answer_bytes
        if self._unchecked is not None:
            return Judgement(outcome="blocked", problem=self._unchecked, again="counted")
        if isinstance(result, Failure) or result.status != 200:
            return judge(result, model, limit)
        if self._told.response.status == "failed":  # it streamed what is no chat completion
            problem = server_problem(f"The stream of the engine for {model} cannot be read.", "engine_error")
            return Judgement(outcome="engine_error", problem=problem, again="counted")
        answer = msgspec.json.encode(self._told.response)
        usage = self._call.stream.usage if self._call.stream is not None else None
        if len(answer) > limit:
            return too_large(f"its answer has {len(answer)} bytes", model, limit, usage)
        await self._journal.flush(closed=True)
        estimate = 0 if usage else self.tokens
        return Judgement(outcome="finished", usage=usage, output_estimate=estimate, body=answer)

    async def _journalled(self, call: Coroutine[Any, Any, EngineAnswer | Failure]) -> EngineAnswer | Failure:
        """The end of a call, what came before its last events being journalled. Who is not allowed to
        journal any more hangs up.
        """
        calling = asyncio.ensure_future(call)
        calling.add_done_callback(lambda _: self._journal.due.set())
        try:
            while True:
                await self._journal.due.wait()
                if calling.done():
                    return calling.result()
                await self._journal.flush()
                self._call.resume()
        finally:
            self._journal.stop()
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)

    def _sift(self, sieve: Sieve, events: bytes) -> None:
        """Takes what a guard lets out."""
        try:
            events = sieve.feed(events)
        except Exception as error:  # noqa: BLE001  (whatever it is: what was not read is not told)
            sieve.over = True
            self._unchecked = unchecked(error).problem
            self._call.give_up(Failure(kind="protocol", message="its answer cannot be checked"))
            return
        if events:
            self._take(events)
        if sieve.cut:
            self._call.end()
        elif sieve.held > self._ports.pace.answer_bytes:
            self._call.give_up(Failure(kind="large", message=f"its answer has more than {sieve.held} bytes"))

    def _take(self, events: bytes) -> None:
        self._journal.add(self._told.feed(events))
        limit = self._ports.pace.answer_bytes
        if self._told.said > limit:
            self._call.give_up(Failure(kind="large", message=f"its answer has more than {limit} bytes"))
        elif self._journal.size > MUCH:
            self._call.pause()
