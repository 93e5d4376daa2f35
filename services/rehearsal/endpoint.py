"""What the engine answers to each call."""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import TypeVar
from urllib.parse import unquote

from events.words import Invalid, Problem, Record, Refusal
from services.front.call import Call, Reply
from services.rehearsal.answer import Answer, Part, Stage
from services.rehearsal.asked import chat, completions, embeddings
from services.rehearsal.asked.checks import Served, UnfitError, unknown_model
from services.rehearsal.drills.control import Control
from services.rehearsal.drills.faults import CODE
from services.rehearsal.drills.plans import UNDISTURBED, Plan, Plans
from services.rehearsal.profiles import QUICK, Profile
from services.rehearsal.said.draft import Draft
from services.rehearsal.schedule.prefix import PrefixCache
from services.rehearsal.wire.chat import writer as chat_writer
from services.rehearsal.wire.completions import Completion
from services.rehearsal.wire.embeddings import Embeddings
from services.rehearsal.wire.heads import WHOLE, refuse, refuse_barely
from services.rehearsal.wire.models import model, models
from services.rehearsal.wire.stream import Writer

MODELS = b"/v1/models/"


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


Made = tuple[Draft, Writer, bool, Callable[[], None] | None]  # streamed or not; told when its prompt was read
Request = TypeVar("Request")


class Endpoint:
    """Answers every call. `run` keeps the ids of this run's answers apart from those of any other."""

    def __init__(self, options: Options, stage: Stage, *, run: str) -> None:
        self._stage = stage
        self._run = run
        self._numbers = count(1)
        self._served = Served(
            model=options.model, context=options.context, created=int(stage.now()), seed=options.seed
        )
        self._prefixes = PrefixCache(options.profile.prefixes)
        self._clock = asyncio.get_running_loop().time
        self._ready_at = self._clock() + options.profile.start_up_s
        self._plans = Plans(Random(options.seed)) if options.control else None  # noqa: S311  (no secrets)
        self._control = Control(self._plans, stage.open, stage.driver.slots) if self._plans else None
        self._routes: dict[tuple[bytes, bytes], Callable[[Call, Reply], None]] = {
            (b"POST", b"/v1/chat/completions"): partial(self._serve, "chatcmpl", chat.read, self._chat),
            (b"POST", b"/v1/completions"): partial(self._serve, "cmpl", completions.read, self._completion),
            (b"POST", b"/v1/embeddings"): partial(self._serve, "embd", embeddings.read, self._embeddings),
            (b"GET", b"/v1/models"): self._models,
            (b"GET", b"/health"): self._health,
            (b"HEAD", b"/health"): self._health,
        }

    def __call__(self, call: Call, reply: Reply) -> None:
        """See `services.front.call.Endpoint`."""
        if self._control is not None and self._control.answers(call, reply):
            return
        route = self._routes.get((call.method, call.path))
        if route is None and call.method == b"GET" and call.path.startswith(MODELS):
            route = self._model
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

    def _model(self, call: Call, reply: Reply) -> None:
        refusal = unknown_model(unquote(call.path[len(MODELS) :].decode("latin-1")), self._served)
        if refusal is None:
            reply.send(200, WHOLE, model(self._served))
        else:
            refuse(reply, refusal)

    # --- answers

    def _serve(
        self,
        kind: str,
        read: Callable[[bytes, Served], Request | Refusal],
        make: Callable[[Request, str, int], Made],
        call: Call,
        reply: Reply,
    ) -> None:
        request = read(call.body, self._served)
        if isinstance(request, Refusal):
            refuse(reply, request)
            return
        plan = self._plan(call)
        if isinstance(plan, Refusal):
            (refuse_barely if plan.problem.code == CODE else refuse)(reply, plan)
            return
        name = f"{kind}-{self._run}-{next(self._numbers)}"
        try:
            made, writer, stream, on_first = make(request, name, int(self._stage.now()))
        except UnfitError as error:
            refuse(reply, error.refusal())
            return
        attempt = call.header(b"x-penstock-attempt").decode("latin-1")
        part = Part(id=name, attempt=attempt, draft=made, writer=writer, stream=stream)
        disturbing = () if plan is UNDISTURBED else plan.interruptions(made.total)
        Answer(self._stage, part, reply, disturbing, on_first).begin()

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

    def _chat(self, request: chat.ChatRequest, name: str, created: int) -> Made:
        keys = self._prefixes.keys(request.messages)
        known = self._prefixes.match(keys) if keys else 0
        made = chat.draft(request, self._served, cached_messages=known)
        writer = chat_writer(request, made, self._served, id=name, created=created)
        return made, writer, request.stream is True, partial(self._prefixes.remember, keys) if keys else None

    def _completion(self, request: completions.CompletionRequest, name: str, created: int) -> Made:
        made = completions.draft(request, self._served)
        writer = Completion(request, made, self._served, id=name, created=created)
        return made, writer, request.stream is True, None

    def _embeddings(self, request: embeddings.EmbeddingRequest, name: str, created: int) -> Made:
        made = embeddings.draft(request)
        return made, Embeddings(request, made, self._served), False, None


def _no_such_route(call: Call) -> Refusal:
    message = f"There is no {call.method.decode('latin-1')} {call.path.decode('latin-1')} here."
    return Refusal(status=404, problem=Problem(message=message, code="not_found"))


def _busy(message: str, code: str, *, retry_after_s: int) -> Refusal:
    problem = Problem(message=message, type="server_error", code=code)
    return Refusal(status=503, problem=problem, retry_after_s=retry_after_s)
