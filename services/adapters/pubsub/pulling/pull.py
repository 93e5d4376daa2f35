"""One subscription's stream: opened again for ever, its leases kept, its messages answered."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import grpc.aio

from events.bus import Message
from events.words import Invalid, PenstockError, Unavailable
from services.adapters.bell import Bell
from services.adapters.pubsub.calls import Backoff
from services.adapters.pubsub.connection import LacksAnOperator, in_our_words
from services.adapters.pubsub.pulling.answers import Answers, send_in_parts
from services.adapters.pubsub.pulling.held import Held
from services.adapters.pubsub.pulling.outage import Outage
from services.adapters.pubsub.pulling.service import Flow, Service

LONGEST_PAUSE_S = 10.0  # between two tries to open the stream
HEARTBEAT_S = 30.0  # Pub/Sub ends a stream whose client said nothing for 60 s
TICKS = 5  # looks at the leases within one ack deadline: a failed extension has a second chance
CLOSE_S = 2.0  # for the stream to end, and for what is returned

log = logging.getLogger("penstock.pubsub")


class Pull:
    """The messages of one subscription, from now until `close`."""

    def __init__(self, service: Service, flow: Flow, *, timeout_s: float) -> None:
        self._service = service
        self._flow = flow
        self._timeout_s = timeout_s
        self._now = asyncio.get_running_loop().time
        self._held = Held(lease_s=service.ack_deadline_s, hold_s=flow.hold_s)
        self._news = Bell()  # rung for receivers
        self._room = Bell()  # rung when less is held
        self._fault: PenstockError | None = None
        self._faults = 0  # receivers who waited when it rose hear of the fault
        self._closed = False
        self._outage = Outage()
        self._backoff = Backoff(longest_s=LONGEST_PAUSE_S)
        self._acks = Answers(partial(service.acknowledge, within_s=timeout_s))
        self._nacks = Answers(partial(service.lease_for, lease_s=0, within_s=timeout_s))
        self._call: Any = None  # the stream that is open
        self._reader = asyncio.create_task(self._run())
        self._keeper = asyncio.create_task(self._keep_leases())

    async def take(self, limit: int) -> list[Message]:
        """Waits for messages nobody here has yet, at most `limit`; raises `Unavailable`."""
        faults = self._faults
        while not self._closed:
            stroke = self._news.stroke
            if taken := self._held.give_out(limit, self._now()):
                return taken
            if self._fault is not None and self._faults > faults:
                raise type(self._fault)(*self._fault.args) from self._fault
            await stroke.wait()
        raise Unavailable(f"This process pulls the {self._service.what} no more.")

    def given(self, message_id: str) -> Message | None:
        """A message that was given out and not answered yet."""
        return self._held.given(message_id)

    async def ack(self, message_ids: Sequence[str]) -> None:
        """Raises `Unavailable`; then they come again when their leases end, unless acked before."""
        await self._answer(self._acks, message_ids)

    async def nack(self, message_id: str) -> None:
        """Raises `Unavailable`; then it comes again when its lease ends."""
        await self._answer(self._nacks, [message_id])

    async def _answer(self, answers: Answers, message_ids: Sequence[str]) -> None:
        ack_ids = self._held.answer(message_ids)
        if ack_ids:
            await answers.give(ack_ids)
            self._held.forget_answered(message_ids)
            self._room.ring()

    def let_go(self, message_id: str) -> None:
        """It comes again when its lease ends."""
        self._held.answer([message_id])

    async def close(self) -> None:
        """Ends the stream and returns what was not answered, so that others get it at once."""
        self._closed = True
        self._news.ring()
        self._room.ring()
        self._keeper.cancel()
        await self._end_stream()
        await asyncio.gather(self._acks.drain(), self._nacks.drain(), self._keeper, return_exceptions=True)
        await self._lease_for(self._held.give_up(), 0, CLOSE_S)

    async def _end_stream(self) -> None:
        """Lets the server end it: what is returned before that may be sent down the dying stream again."""
        with suppress(TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with asyncio.timeout(CLOSE_S):
                if self._call is not None:
                    await self._call.done_writing()
                    await asyncio.wait([self._reader])
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _run(self) -> None:
        while not self._closed:
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                self._note(error)
            except Exception:
                log.exception("the %s could not be read", self._service.what)
            if not self._closed:
                await asyncio.sleep(self._backoff.next_s())

    async def _follow(self) -> None:
        """Takes in what comes until the stream ends, which Pub/Sub lets it do now and then."""
        call = self._call = self._service.stream()
        beating = asyncio.create_task(self._beat(call))
        try:
            with suppress(asyncio.InvalidStateError):  # it failed at once; reading tells why
                await call.write(self._service.first_request(self._flow))
                self._outage.opened(self._now())
            while (response := await call.read()) is not grpc.aio.EOF:
                self._take_in(response)
                await self._until_there_is_room()
        finally:
            self._call = None
            beating.cancel()
            call.cancel()

    async def _beat(self, call: Any) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # whoever reads hears of it
            while True:
                await asyncio.sleep(HEARTBEAT_S)
                await call.write(self._service.heartbeat())

    def _take_in(self, response: Any) -> None:
        self._outage.over()
        self._backoff.reset()
        now = self._now()
        for ack_id, message in self._service.received(response):
            self._held.take_in(message, ack_id, now)
        self._news.ring()

    async def _until_there_is_room(self) -> None:
        """Pub/Sub keeps to the limits itself; its emulator does not, and would fill the memory."""
        while not self._closed and self._full():
            stroke = self._room.stroke
            await stroke.wait()

    def _full(self) -> bool:
        return len(self._held) >= self._flow.max_messages or self._held.bytes >= self._flow.max_bytes

    def _note(self, error: grpc.aio.AioRpcError) -> None:
        """The stream failed. Receivers hear of what somebody has to mend, and of a long outage."""
        problem = in_our_words(error, self._service.what)
        lasted_s = self._outage.failed(self._now())
        if lasted_s == 0:
            self._backoff.reset()
        if isinstance(problem, LacksAnOperator | Invalid) or lasted_s >= self._timeout_s:
            self._fault = problem
            self._faults += 1
            self._news.ring()
        else:
            log.info("the %s is opened again: %s", self._service.what, problem)

    async def _keep_leases(self) -> None:
        tick_s = self._service.ack_deadline_s / TICKS
        while True:
            await asyncio.sleep(tick_s)
            now = self._now()
            self._held.forget_expired(now)
            self._room.ring()
            ack_ids = self._held.to_extend(now)
            if await self._lease_for(ack_ids, self._service.ack_deadline_s, tick_s):
                self._held.extended(ack_ids, now)

    async def _lease_for(self, ack_ids: Sequence[str], lease_s: int, within_s: float) -> bool:
        """Whether the server heard it; if not, the messages come again when their leases end."""
        send = partial(self._service.lease_for, lease_s=lease_s, within_s=within_s)
        try:
            await send_in_parts(send, ack_ids)
        except PenstockError as error:
            log.info("leases of the %s stay as they are: %s", self._service.what, error)
            return False
        return True
