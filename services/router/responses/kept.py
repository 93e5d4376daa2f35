"""Responses that are kept: made in the background, or stored after they were answered at once."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from msgspec.structs import replace

from events.answer import STATUS
from events.answer import told as request_told
from events.config import Config
from events.journal import OPENING, Entry, body_id_of
from events.requests import FINAL, RESPONSES, Answer, RequestDocument, Versioned
from events.words import ApiKey, Conflict, Refusal, Unavailable
from functions.request.intake import Taken, Terms, too_large
from functions.request.submission import Options, judge_options
from services.responses.names import request_id_of, response_id
from services.responses.told import Failed, Response
from services.responses.translation import Asked, admit_as_chat, translate
from services.router.queue import RequestQueue, Requests, Sealer

READ_AT_ONCE = 50
TRIES = 20


class Bodies(Protocol):
    """Where sealed bodies are kept."""

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        """Stores a body."""

    async def get(self, body_id: str) -> bytes | None:
        """A body, if it is still kept."""

    async def delete(self, body_ids: Sequence[str]) -> None:
        """Forgets bodies now."""


class Journal(Protocol):
    """Where the events of streamed responses are kept."""

    async def append(self, entry: Entry) -> None:
        """Takes the entry's place for it; raises `Conflict` where another entry has it."""

    async def place_of(self, request: str, number: int) -> int | None:
        """The first place that tells events behind `number`, or has none where it ends behind it."""

    async def read(self, request: str, place: int, limit: int) -> Sequence[Entry]:
        """Entries from a place on, in their order."""

    async def remove(self, request: str) -> None:
        """Forgets a journal now."""


class KeptResponses:
    """The responses API without its HTTP. Documents, queue and bodies are those of every queued request."""

    def __init__(
        self,
        queue: RequestQueue,
        requests: Requests,
        bodies: Bodies,
        journal: Journal,
        sealer: Sealer,
        *,
        config: Callable[[], Config],
        terms: Terms,
        now: Callable[[], datetime],
    ) -> None:
        self._queue = queue
        self._requests = requests
        self._bodies = bodies
        self._sealer = sealer
        self._config = config
        self._terms = terms
        self._now = now
        self.journal = journal

    # --- how they come to be

    def judge(self, body: bytes, options: Options) -> Taken | Refusal:
        """Whether a response may be made in the background."""
        if refusal := self.refuse_large(body):
            return refusal
        asked = translate(body, id="", created_at=0)
        if isinstance(asked, Refusal):
            return asked
        admitted = admit_as_chat(asked, self._config())
        if isinstance(admitted, Refusal):
            return admitted
        submission = judge_options(
            RESPONSES, body, options, now=self._now(), default_deadline_s=self._terms.deadline_s
        )
        if isinstance(submission, Refusal):
            return submission
        return Taken(submission=submission, admitted=admitted)

    async def enter(
        self, key: ApiKey, taken: Taken, traceparent: str, *, name: str = ""
    ) -> RequestDocument | Refusal:
        """Takes one to be made in the background, by the name of its request or a new one: what this returns
        is stored, and will be run.
        """
        streamed = taken.admitted.stream
        return await self._queue.enter(key, taken, traceparent, name=name, streamed=streamed)

    def refuse_large(self, body: bytes) -> Refusal | None:
        """Why a request of this size cannot be kept."""
        size, limit = len(body), self._terms.body_bytes
        return too_large(size, limit) if size > limit else None

    async def keep(self, key: ApiKey, body: bytes, response: Response) -> None:
        """Keeps a response that was answered at once, and its request. Raises `Invalid` where it is too
        large, `Unavailable` where the store is away.
        """
        name, now = request_id_of(response.id) or response.id, self._now()
        expire_at = now + timedelta(seconds=self._terms.keep_s)
        kept = {
            ("prompt", f"{name}-prompt"): body,
            ("answer", f"{name}-answer"): msgspec.json.encode(response),
        }
        for (kind, body_id), clear in kept.items():
            sealed = await self._sealer.seal(key.tenant, kind, body_id, clear)
            await self._bodies.put(body_id, sealed, expire_at + timedelta(hours=1))
        document = RequestDocument(
            id=name,
            tenant=key.tenant,
            key_id=key.id,
            url=RESPONSES,
            model=response.model,
            lane="interactive",
            state="completed",
            created_at=now,
            deadline_at=now,
            expire_at=expire_at,
            body_id=f"{name}-prompt",
            answer=Answer(status_code=200, body_id=f"{name}-answer"),
        )
        await self._requests.create(document)

    # --- how they are found

    async def find(self, tenant: str, name: str) -> RequestDocument | None:
        """A tenant's response; None where the tenant has none of that name."""
        found = await self._found(tenant, name)
        return found.document if found is not None else None

    async def read(self, tenant: str, name: str) -> RequestDocument | None:
        """The same by the name of its request."""
        return await self.find(tenant, response_id(name))

    async def _found(self, tenant: str, name: str) -> Versioned | None:
        request = request_id_of(name)
        found = await self._requests.get(request) if request is not None else None
        if found is None or (found.document.tenant, found.document.url) != (tenant, RESPONSES):
            return None
        return found

    async def asked(self, document: RequestDocument) -> tuple[bytes, Asked] | None:
        """What was asked for, as it was sent and as it is understood; None where it is kept no more."""
        body = await self._open(document, "prompt", document.body_id)
        if body is None:
            return None
        name, created_at = response_id(document.id), int(document.created_at.timestamp())
        asked = translate(body, id=name, created_at=created_at)
        return None if isinstance(asked, Refusal) else (body, asked)

    async def resource(self, document: RequestDocument) -> bytes | None:
        """The JSON a caller reads; None where it is kept no more."""
        answer = document.answer
        body = await self._open(document, "answer", answer.body_id) if answer is not None else None
        if document.state == "completed":
            return body
        asked = await self.asked(document)
        return None if asked is None else msgspec.json.encode(_told(document, asked[1].response, body))

    async def events(self, entry: Entry, document: RequestDocument) -> bytes:
        """The events of an entry of its journal. Raises `Unavailable` where they are not there, `Invalid`
        where they are those of another entry.
        """
        name = body_id_of(document.id, entry.place)
        sealed = await self._bodies.get(name) if entry.body_id else entry.sealed
        if sealed is None:
            raise Unavailable(f"Events of {document.id} are kept no more.")
        return await self._sealer.open(document.tenant, "events", name, sealed) if sealed else b""

    async def _open(self, document: RequestDocument, kind: str, body_id: str) -> bytes | None:
        sealed = await self._bodies.get(body_id)
        return None if sealed is None else await self._sealer.open(document.tenant, kind, body_id, sealed)

    # --- how they end

    async def cancel(self, tenant: str, name: str) -> RequestDocument | None:
        """Cancels what has not ended; what has is returned as it is. Whoever makes it hangs up as soon as it
        finds its journal closed, or its claim gone.
        """
        document = await self.find(tenant, name)
        if document is None:
            return None
        cancelled = await self._queue.cancel(tenant, document.id)
        if cancelled is not None and cancelled.state == "cancelled":
            with contextlib.suppress(Unavailable):  # who reads it closes it
                await self.close(cancelled)
        return cancelled

    async def close(self, document: RequestDocument, place: int = 0, number: int = OPENING) -> None:
        """Closes the journal of a response that ended, behind all that is in it: from here on everybody
        reads the same. `place`, `number`: what is known of its end.
        """
        if not (document.streamed and document.attempts):
            return
        for _ in range(TRIES):
            while found := await self.journal.read(document.id, place, READ_AT_ONCE):
                place, number = found[-1].place + 1, found[-1].next
                if found[-1].closed and found[-1].attempt == document.attempts:
                    return
            with contextlib.suppress(Conflict):
                await self.journal.append(_closing(document, place, number))
                return
        raise Unavailable(f"The journal of {document.id} cannot be closed: others write it all the time.")

    async def delete(self, tenant: str, name: str) -> bool:
        """Forgets a response and all that was said; one that is still made is cancelled first."""
        while (found := await self._found(tenant, name)) is not None:
            if found.document.state not in FINAL:
                await self._queue.cancel(tenant, found.document.id)
                continue
            try:
                await self._requests.replace(replace(found.document, expire_at=self._now()), found.version)
            except Conflict:
                continue
            await self._bodies.delete([*await self._bodies_of(found.document)])
            await self.journal.remove(found.document.id)
            return True
        return False

    async def _bodies_of(self, document: RequestDocument) -> list[str]:
        names = [document.body_id, *([document.answer.body_id] if document.answer else [])]
        place = 0
        while document.streamed and (found := await self.journal.read(document.id, place, READ_AT_ONCE)):
            names += [entry.body_id for entry in found if entry.body_id]
            place = found[-1].place + 1
        return names


def _closing(document: RequestDocument, place: int, number: int) -> Entry:
    return Entry(
        request=document.id,
        place=place,
        attempt=document.attempts,
        first=number,
        next=number,
        expire_at=document.expire_at + timedelta(hours=1),
        closed=True,
    )


def _told(document: RequestDocument, response: Response, body: bytes | None) -> Response:
    """A response that has no answer, or not yet."""
    status = STATUS[document.state]
    if status in ("failed", "expired"):
        error = request_told(document, body).error
        code, message = (error.code, error.message) if error else (None, "The response failed.")
        failed = Failed(code=code or "server_error", message=message)
        return replace(response, status="failed", error=failed)
    assert status in ("queued", "in_progress", "cancelled")
    return replace(response, status=status)
