"""What the engine answers to each call."""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

from events.words import Invalid, Problem, Record, Refusal
from services.front.call import Call, Reply
from services.rehearsal.answer import Answer, Part, Stage
from services.rehearsal.drills.control import Control
from services.rehearsal.drills.plans import UNDISTURBED, Plan, Plans
from services.rehearsal.profiles import QUICK, Profile
from services.rehearsal.request import ChatRequest, Served, draft, read
from services.rehearsal.schedule.prefix import PrefixCache
from services.rehearsal.wire import WHOLE, Writer, models, refuse


class Options(Record):
    """How an engine is set up. `seed` decides what it says and whom faults strike.

    With `control` it also serves `/rehearsal/...` and heeds the header `x-rehearsal-fault`. The log at
    `log_path` is appended to.
    """

    profile: Profile = QUICK
    model: str = "gemma-3-4b-it"
    context: int = 131_072  # what Gemma 3 takes
    seed: int = 0
    log_path: Path | None = None
    control: bool = False


class Endpoint:
    """Answers every call. `run` keeps the ids of this run's answers apart from those of any other."""

    def __init__(self, options: Options, stage: Stage, *, run: str) -> None:
        self._stage = stage
        self._ids = (f"chatcmpl-{run}-{number}" for number in count(1))
        self._seed = options.seed
        self._served = Served(model=options.model, context=options.context, created=int(stage.now()))
        self._prefixes = PrefixCache(options.profile.prefixes)
        self._clock = asyncio.get_running_loop().time
        self._ready_at = self._clock() + options.profile.start_up_s
        self._plans = Plans(Random(options.seed)) if options.control else None  # noqa: S311  (no secrets)
        self._control = Control(self._plans, stage.open, stage.driver.slots) if self._plans else None
        self._routes: dict[tuple[bytes, bytes], Callable[[Call, Reply], None]] = {
            (b"POST", b"/v1/chat/completions"): self._chat,
            (b"GET", b"/v1/models"): self._models,
            (b"GET", b"/health"): self._health,
            (b"HEAD", b"/health"): self._health,
        }

    def __call__(self, call: Call, reply: Reply) -> None:
        """See `services.front.call.Endpoint`."""
        if self._control is not None and self._control.answers(call, reply):
            return
        route = self._routes.get((call.method, call.path))
        if route is None:
            refuse(reply, _no_such_route(call))
        elif (left_s := self._ready_at - self._clock()) > 0:
            refuse(reply, _busy("The engine is starting.", "engine_starting", retry_after_s=int(left_s) + 1))
        else:
            route(call, reply)

    def _health(self, _: Call, reply: Reply) -> None:
        reply.send(200, WHOLE, b'{"status":"ok"}')

    def _models(self, _: Call, reply: Reply) -> None:
        reply.send(200, WHOLE, models(self._served))

    def _chat(self, call: Call, reply: Reply) -> None:
        request = read(call.body, self._served)
        if isinstance(request, Refusal):
            refuse(reply, request)
            return
        plan = self._plan(call)
        if isinstance(plan, Refusal):
            refuse(reply, plan)
        else:
            self._answer(request, plan, call.header(b"x-penstock-attempt").decode("latin-1"), reply)

    def _plan(self, call: Call) -> Plan | Refusal:
        """What is to happen to a request that can be read; mostly nothing but its answer."""
        if self._stage.driver.slots.full:
            return _busy("All slots are taken and the queue is full.", "queue_full", retry_after_s=1)
        if self._plans is None:
            return UNDISTURBED
        try:
            plan = self._plans.plan(call.header(b"x-rehearsal-fault"))
        except Invalid as error:
            return Refusal(status=400, problem=Problem(message=str(error)))
        return (plan.fault and plan.fault.refusal()) or plan

    def _answer(self, request: ChatRequest, plan: Plan, attempt: str, reply: Reply) -> None:
        keys = self._prefixes.keys(request.messages)
        made = draft(request, self._served, seed=self._seed, cached_messages=self._prefixes.match(keys))
        name, created = next(self._ids), int(self._stage.now())
        writer = Writer(made, self._served, id=name, created=created, wants_usage=request.wants_usage)
        part = Part(id=name, attempt=attempt, draft=made, writer=writer, stream=request.stream is True)
        on_first = partial(self._prefixes.remember, keys) if keys else None
        Answer(self._stage, part, reply, plan.interruptions(made.total), on_first).begin()


def _no_such_route(call: Call) -> Refusal:
    message = f"There is no {call.method.decode('latin-1')} {call.path.decode('latin-1')} here."
    return Refusal(status=404, problem=Problem(message=message, code="not_found"))


def _busy(message: str, code: str, *, retry_after_s: int) -> Refusal:
    problem = Problem(message=message, type="server_error", code=code)
    return Refusal(status=503, problem=problem, retry_after_s=retry_after_s)
