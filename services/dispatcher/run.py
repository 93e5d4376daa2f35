"""One claimed request, from its claim to what is stored of it."""

import asyncio
import contextlib
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from events.config import Config, Place
from events.requests import Answer, RequestDocument, Versioned, owed
from events.usage import Completed, Outcome, Progress, Started, UsageRecorded
from events.words import Conflict, Invalid, Problem, Refusal, Unavailable, Usage, attempt_id, server_problem
from functions.request.admission import Admitted
from functions.request.lifecycle import expired_problem, finish, release
from functions.routing.policy import Ask, choose
from services.dispatcher.engine_call import EngineCall
from services.dispatcher.hold import Hold
from services.dispatcher.judgement import Again, Judgement, judge, released, told_as_response
from services.dispatcher.ports import Ports
from services.dispatcher.prepared import Prepared, prepare
from services.dispatcher.streaming import Streaming
from services.guarding.asking import judged
from services.guarding.guard import Allowed, Prompt, Watching
from services.pool.wire import for_engine
from services.requests.outbox import pay
from services.wire.errors import error_body
from services.wire.fields import field

SOURCE = "/dispatcher"


class Run:
    """Runs a claimed document. All writes go through its hold: where that is lost, somebody else decides
    about the request, and the run ends without a trace.
    """

    def __init__(self, claimed: Versioned, ports: Ports) -> None:
        self._hold = Hold(claimed, ports.requests, ports.pace, ports.now)
        self._ports = ports
        self._attempt = attempt_id(claimed.document.id, claimed.document.attempts)
        self._began = ports.now()
        self._started: Started | None = None
        self._streaming: Streaming | None = None
        self.completed: Completed | None = None  # what is recorded of its end
        self._watched = ports.watch.begin(claimed.document) if ports.watch is not None else None

    @property
    def _document(self) -> RequestDocument:
        return self._hold.document

    @property
    def waits_again(self) -> bool:
        """Whether the request went back to the queue."""
        return self._document.state == "routed"

    @property
    def not_before(self) -> datetime | None:
        """From when on it may be claimed there; None: at once."""
        return self._document.not_before

    async def run(self) -> None:
        """To the end, whatever it is."""
        try:
            await self._run()
        finally:
            if self._watched is not None:
                self._watched.ended(self._document.state, self.completed)

    async def _run(self) -> None:
        tasks = [asyncio.create_task(one) for one in (self._work(), self._hold.keep(), self._report())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if any(isinstance(result, Conflict) for result in results):
            await self._superseded()
            return
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _report(self) -> None:
        """Records that the attempt is alive, or the sweep would settle it by an estimate. The engine counts
        when it has answered; until then all that is known is the prompt, and of a stream what it said.
        """
        while True:
            await asyncio.sleep(self._ports.pace.progress_every_s)
            if self._started is not None:
                usage = Usage(input=self._started.estimate, output=self._said)
                self._ports.recorder.add(Progress(attempt=self._attempt, at=self._ports.now(), usage=usage))

    @property
    def _said(self) -> int:
        """Tokens that a stream has told so far."""
        return self._streaming.tokens if self._streaming is not None else 0

    async def _work(self) -> None:
        try:
            judgement = await self._attempt_it()
        except Invalid as error:  # no attempt can mend that
            judgement = Judgement(outcome="engine_error", problem=server_problem(str(error), "unreadable"))
        try:
            await self._conclude(judgement)
        except Invalid as error:  # what was to be kept cannot be: running it again would end here again
            problem = server_problem(str(error), "unstorable")
            await self._fail(Judgement(outcome="engine_error", usage=judgement.usage, problem=problem))

    async def _attempt_it(self) -> Judgement:
        body = await self._hold.insist(self._prompt)
        prepared = prepare(self._document, body, self._ports.config())
        if isinstance(prepared, Refusal):  # the configuration changed since it was taken
            return Judgement(outcome="engine_error", problem=prepared.problem)
        said = await self._judged(prepared)
        if isinstance(said, Refusal):
            again: Again = "no" if said.status == 400 else "free"
            return Judgement(outcome="blocked", problem=prepared.blame(said).problem, again=again)
        left_s = (self._document.deadline_at - self._ports.now()).total_seconds()
        if left_s <= 0:
            return self._timed_out()
        try:
            return await self._call_engine(prepared, said.watch, min(self._ports.pace.total_s, left_s))
        except TimeoutError:
            return self._timed_out()

    async def _judged(self, prepared: Prepared) -> Allowed | Refusal:
        """The guard's verdict; it is asked here, where requests of every way in come by."""
        guard, document = self._ports.guard, self._document
        if guard is None:
            return Allowed()
        model = prepared.admitted.model
        prompt = Prompt(tenant=document.tenant, model=model, endpoint=prepared.path, body=prepared.body)
        return await judged(guard, prompt)

    async def _prompt(self) -> bytes:
        document = self._document
        sealed = await self._ports.bodies.get(document.body_id)
        if sealed is None:
            raise Invalid(f"The prompt of {document.id} is gone.")
        return await self._ports.sealer.open(document.tenant, "prompt", document.body_id, sealed)

    async def _call_engine(self, prepared: Prepared, watching: Watching | None, total_s: float) -> Judgement:
        document, config, pool = self._document, self._ports.config(), self._ports.pool()
        place = self._place(config, prepared.admitted)
        if not isinstance(place, Refusal) and config.backends[place.backend].leaves:
            place = await self._allowed(place)
        if isinstance(place, Refusal):
            return Judgement(outcome="engine_error", problem=place.problem)
        picked = pool.pick(place.backend, model=place.model, prefix=prepared.admitted.prefix)
        if picked is None:
            problem = server_problem(f"{document.model} has no engine right now.", "engine_unavailable")
            return Judgement(outcome="engine_error", problem=problem, again="free")
        fields = field("x-penstock-attempt", self._attempt)
        if self._watched is not None:
            fields += self._watched.calls(place, config.backends[place.backend], picked.replica)
        elif document.traceparent:
            fields += field("traceparent", document.traceparent)
        self._start(prepared.admitted, place)
        payload = for_engine(prepared.body, prepared.admitted, place.served_as)
        own = config.models[place.model].deadlines
        connect_s = own.connect_s or self._ports.pace.connect_s
        total_s = min(total_s, own.total_s or total_s)
        asked = (picked.replica, prepared.path, fields, payload)
        if document.streamed and prepared.response is not None:
            self._streaming = Streaming(document, prepared.response, self._ports, self._hold.insist, watching)
            return await self._streaming.run(*asked, connect_s=connect_s, total_s=total_s)
        result = await EngineCall().run(*asked, connect_s=connect_s, total_s=total_s)
        judgement = released(judge(result, document.model, self._ports.pace.answer_bytes), watching)
        if prepared.response is None:
            return judgement
        return told_as_response(judgement, prepared.response, int(self._ports.now().timestamp()))

    def _place(self, config: Config, admitted: Admitted) -> Place | Refusal:
        """Where it was routed to; where that is no place any more, one inside that it can go to today."""
        document = self._document
        place = config.place(document.model, document.backend or "")
        if place is not None:
            return place
        return choose(admitted.model, config, Ask(needs=admitted.needs, seed=document.id))

    async def _allowed(self, place: Place) -> Place | Refusal:
        """A place outside, if the tenant's prompts may leave: that, or the place, may have changed since."""
        if await self._hold.insist(partial(self._ports.may_leave, self._document.tenant)):
            return place
        message = f"The model {place.model} is served outside now, and this tenant's prompts may not leave."
        return Refusal(status=403, problem=Problem(message=message, code="hosted_not_allowed"))

    def _start(self, admitted: Admitted, place: Place) -> None:
        document = self._document
        self._started = Started(
            attempt=self._attempt,
            request=document.id,
            tenant=document.tenant,
            key=document.key_id,
            model=place.model,
            backend=place.backend,
            at=self._ports.now(),
            estimate=admitted.input_estimate,
            queued=True,
        )
        self._ports.recorder.add(self._started)

    def _timed_out(self) -> Judgement:
        if self._ports.now() >= self._document.deadline_at:
            return Judgement(outcome="deadline", problem=expired_problem())
        problem = server_problem("The engine did not finish in time.", "total_timeout")
        return Judgement(outcome="deadline", problem=problem, again="counted")

    # --- what is stored

    async def _conclude(self, judgement: Judgement) -> None:
        if judgement.body is not None:
            await self._answer(judgement)
        elif judgement.again != "no" and not self._spent(judgement):
            await self._try_again(judgement)
        else:
            await self._fail(judgement)

    def _spent(self, judgement: Judgement) -> bool:
        failures = self._document.failures + (judgement.again == "counted")
        return failures >= self._ports.pace.failures

    async def _answer(self, judgement: Judgement) -> None:
        """The body first, then one commit: state, where the body is, and the events owed for both."""
        assert judgement.body is not None
        answer = await self._keep(200, judgement.body)
        document, now = self._document, self._ports.now()
        completed = self._completed(
            "finished", judgement.usage, billed=True, output_estimate=judgement.output_estimate
        )
        page = UsageRecorded(producer=self._ports.recorder.producer, records=(completed,))
        ended = finish(
            document,
            "completed",
            now=now,
            keep_s=self._ports.pace.keep_s,
            source=SOURCE,
            answer=answer,
            also_owed=(owed(document, page, now, SOURCE),),
        )
        await self._end(ended)

    async def _keep(self, status_code: int, body: bytes) -> Answer:
        """Stores what the engine said, sealed for its caller."""
        tenant, body_id = self._document.tenant, f"{self._attempt}-answer"
        sealed = await self._ports.sealer.seal(tenant, "answer", body_id, body)
        keep = self._ports.now() + timedelta(seconds=self._ports.pace.keep_s)
        await self._hold.insist(partial(self._ports.bodies.put, body_id, sealed, keep + timedelta(hours=1)))
        return Answer(status_code=status_code, body_id=body_id)

    async def _fail(self, judgement: Judgement) -> None:
        expired = judgement.outcome == "deadline" and judgement.again == "no"
        answer, problem, status = None, judgement.problem, judgement.status_code
        if problem is not None and status is not None:
            answer = await self._keep(status, error_body(problem))
            problem = Problem(message=f"The engine refused the request with status {status}.")
        ended = finish(
            self._document,
            "expired" if expired else "failed",
            now=self._ports.now(),
            keep_s=self._ports.pace.keep_s,
            source=SOURCE,
            answer=answer,
            problem=problem,
        )
        await self._end(ended)
        self._record(judgement.outcome, judgement.usage)

    async def _end(self, document: RequestDocument) -> None:
        ports = self._ports
        await self._hold.write(document)
        ports.waiters.ring(document.id)
        with contextlib.suppress(Unavailable):  # it owes its events, and the sweep pays
            stored = Versioned(document=document, version=self._hold.version)
            await pay(stored, ports.requests, ports.publisher)

    async def _try_again(self, judgement: Judgement) -> None:
        counted = judgement.again == "counted"
        document = replace(self._document, failures=self._document.failures + counted)
        await self._hold.write(release(document, self._not_before(document, judgement)))
        self._record(judgement.outcome)

    def _not_before(self, document: RequestDocument, judgement: Judgement) -> datetime | None:
        if judgement.again == "at once":
            return None
        pace = self._ports.pace
        doubled = pace.retry_first_s * 2 ** min(document.attempts - 1, 16)
        pause_s = max(judgement.retry_after_s or 0, min(pace.retry_last_s, doubled))
        return self._ports.now() + timedelta(seconds=pause_s)

    async def give_back(self) -> None:
        """The process must stop: somebody else runs it again, unless it has just been concluded. Where the
        store is away, that has to wait until the lease ended.
        """
        if self._document.state != "running":
            return
        try:
            await self._hold.write_once(release(self._document))
        except Conflict:
            return  # a write that was under way has concluded it, or somebody else has it
        except Unavailable:
            pass
        self._record("shutdown")

    async def _superseded(self) -> None:
        found: Versioned | None = None
        with contextlib.suppress(Unavailable):
            found = await self._ports.requests.get(self._document.id)
        cancelled = found is not None and found.document.state == "cancelled"
        self._record("cancelled" if cancelled else "superseded", billed=cancelled, output_estimate=self._said)

    # --- what is recorded

    def _record(
        self,
        outcome: Outcome,
        usage: Usage | None = None,
        *,
        billed: bool = False,
        output_estimate: int = 0,
    ) -> None:
        if self._started is not None:
            done = self._completed(outcome, usage, billed=billed, output_estimate=output_estimate)
            self._ports.recorder.add(done)

    def _completed(
        self, outcome: Outcome, usage: Usage | None, *, billed: bool, output_estimate: int = 0
    ) -> Completed:
        started, now = self._started, self._ports.now()
        assert started is not None
        self.completed = Completed(
            attempt=started.attempt,
            request=started.request,
            tenant=started.tenant,
            key=started.key,
            model=started.model,
            backend=started.backend,
            at=now,
            outcome=outcome,
            usage=usage or Usage(input=started.estimate, output=output_estimate),
            billed=billed,
            estimated=None if usage else "usage",
            duration_ms=round((now - self._began).total_seconds() * 1000),
        )
        return self.completed
