"""Claims on idempotency keys in the store: taken, renewed, turned into results, given up."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

from msgspec.structs import replace

from events.words import Conflict, PenstockError, Refusal, Unavailable
from functions.request.idempotency import (
    KIND,
    NOT_KEPT,
    OTHER_BODY,
    KeyedCall,
    Stored,
    Verdict,
    fingerprint,
    judge,
    named,
)
from services.front.call import Call
from services.router.idempotency.ports import Ports
from services.router.idempotency.result import Result, packed, unpacked
from services.wire.ids import request_id

STORES_AGAIN = 3

log = logging.getLogger("penstock.router")


@dataclass(slots=True)
class Claim:
    """A call that is run here, and the version of what is stored of it."""

    call: KeyedCall
    version: int = 0


class Claims:
    """What the stores are asked, each time once. Raises `Unavailable` where they are away."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def named(self, tenant: str, key: str, call: Call) -> KeyedCall:
        """What a call would be stored as, if it is the first with its key."""
        ports = self._ports
        secret = await ports.sealer.secret(tenant, KIND)
        until = ports.now() + timedelta(seconds=ports.patience.lease_s)
        return KeyedCall(
            id=named(secret, key),
            tenant=tenant,
            fingerprint=fingerprint(secret, call.path, call.body),
            owner=ports.owner,
            run=request_id(),
            lease_until=until,
            expire_at=until + timedelta(seconds=ports.patience.keep_s),  # while it runs, not at all
        )

    async def ask(self, mine: KeyedCall) -> Stored:
        """What is stored under its key: this very call where there was nothing."""
        return await self._ports.calls.create(mine)

    async def look(self, mine: KeyedCall) -> Stored | None:
        """What is stored under its key by now."""
        return await self._ports.calls.get(mine.id)

    def judge(self, stored: Stored, mine: KeyedCall) -> Verdict:
        """What is to be done about it."""
        ports = self._ports
        return judge(stored.call, mine, ports.now(), skew_s=ports.patience.skew_s, alone=ports.alone)

    async def take_over(self, stored: Stored, mine: KeyedCall) -> Stored | None:
        """Claims in the place of one that died; what is stored then, where somebody else was first."""
        try:
            return Stored(call=mine, version=await self._ports.calls.replace(mine, stored.version))
        except Conflict:
            return await self.look(mine)

    async def told(self, stored: Stored, mine: KeyedCall) -> Result | Refusal:
        """What a call came to that ended before."""
        ports, run = self._ports, stored.call.run
        match self.judge(stored, mine):
            case "other":
                return OTHER_BODY
            case "answered" if (sealed := await ports.bodies.get(run)) is not None:
                return unpacked(await ports.sealer.open(mine.tenant, KIND, run, sealed))
        return NOT_KEPT

    async def renew(self, claim: Claim) -> None:
        """Says that the call is still run, where it can."""
        ports = self._ports
        until = ports.now() + timedelta(seconds=ports.patience.lease_s)
        expire_at = until + timedelta(seconds=ports.patience.keep_s)
        try:
            await self._write(claim, replace(claim.call, lease_until=until, expire_at=expire_at))
        except PenstockError as error:
            log.warning("a call under an idempotency key cannot be renewed: %s", error)

    async def keep(self, claim: Claim, result: Result | None) -> None:
        """Stores what it came to, or that this is not kept. Where it cannot be stored, its lease will end."""
        for number in range(1, STORES_AGAIN + 1):
            try:
                await self._store(claim, result)
                return
            except Unavailable as error:
                log.warning("a result cannot be stored (%d of %d): %s", number, STORES_AGAIN, error)
                await asyncio.sleep(self._ports.patience.store_again_s * number)
            except PenstockError as error:
                log.warning("a result cannot be stored: %s", error)
                return

    async def _store(self, claim: Claim, result: Result | None) -> None:
        ports, call = self._ports, claim.call
        expire_at = ports.now() + timedelta(seconds=ports.patience.keep_s)
        if result is None:
            await self._write(claim, replace(call, state="unkept", expire_at=expire_at))
            return
        sealed = await ports.sealer.seal(call.tenant, KIND, call.run, packed(result))
        await ports.bodies.put(call.run, sealed, expire_at)
        await self._write(claim, replace(call, state="answered", expire_at=expire_at))

    async def _write(self, claim: Claim, call: KeyedCall) -> None:
        """Raises `Conflict` where another process took the call over."""
        calls = self._ports.calls
        try:
            claim.version = await calls.replace(call, claim.version)
        except Conflict:
            found = await calls.get(call.id)
            if found is None or found.call.run != call.run:
                raise
            claim.version = await calls.replace(call, found.version)  # the write before it went unheard

    async def release(self, claim: Claim) -> None:
        """Leaves the key free; where it cannot, the lease will end."""
        try:
            await self._ports.calls.delete(claim.call.id, claim.version)
        except PenstockError as error:
            log.warning("an idempotency key cannot be released: %s", error)
