"""The configuration document: which models exist, where each is served, and what every name leads to."""

from functools import cached_property
from typing import Literal

from events.words import Record

TASK = "task:"  # before a task type, where callers name it as their model
CONTEXT_LENIENCY = 1.5  # an estimate refuses only what is far over; the engine judges the rest

Kind = Literal["openai", "gemini"]
WhenCold = Literal["hold", "fallback", "fail"]
Preference = Literal["weight", "cost", "latency"]


class Fleet(Record, forbid_unknown_fields=True):
    """What the advice on a backend's replicas goes by.

    `min`: how many there should be at least. `max`: how many at most. `slots`: how many sequences one replica
    decodes at a time. `boot_s`: how long a new one takes until it serves.
    """

    min: int = 1
    max: int = 5
    slots: int = 4
    boot_s: float = 150.0


class Secret(Record, forbid_unknown_fields=True):
    """Where a secret lies; the document never holds the secret itself. One of the two is named.

    `env`: an environment variable of the process that calls the backend. `file`: a file it can read.
    """

    env: str | None = None
    file: str | None = None


class Backend(Record, forbid_unknown_fields=True):
    """Where models are served, by the OpenAI wire. It is reached by one of `replicas`, `dns` and `url`.

    `replicas`: base URLs of engines that all hold the same models, such as `http://10.0.0.5:8000`; `/v1/...`
    is appended. `dns`: the `name:port` under which DNS lists the engines. `url`: what stands before
    `/chat/completions` at a hosted endpoint, such as `https://host/v1`. `kind`: which dialect it speaks.
    `api_key`: where the key of a hosted endpoint lies. `auth`: `google` where Google's own credentials of the
    process are the key. `hosted`: whether prompts leave the VPC on the way there; so they do for a `url`,
    unless it is said otherwise. `rehearsal`: whether it answers with made-up text, which a response header
    tells. `fleet`: what the advice on its replicas goes by. `affinity`: of several replicas, a prompt goes to
    one that has read its beginning before, while that has at most so many times the mean of calls under way;
    0: it goes to the least busy.
    """

    replicas: tuple[str, ...] = ()
    dns: str | None = None
    url: str | None = None
    kind: Kind = "openai"
    api_key: Secret | None = None
    auth: Literal["google"] | None = None
    hosted: bool | None = None
    rehearsal: bool = False
    fleet: Fleet = Fleet()
    affinity: float = 1.25

    @property
    def leaves(self) -> bool:
        """Whether what is sent there leaves the VPC."""
        return self.url is not None if self.hosted is None else self.hosted

    @property
    def may_be_several(self) -> bool:
        """Whether it may have more than one replica."""
        return len(self.replicas) > 1 or self.dns is not None


class Deadlines(Record, forbid_unknown_fields=True):
    """How long each phase of a call may take, in seconds; one that is not told is the process's setting.

    `connect_s`: until a connection is made. `first_byte_s`: from then until the answer begins. `idle_s`: how
    long an answer that began may pause. `total_s`: from the start to the end.
    """

    connect_s: float | None = None
    first_byte_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None


class Cost(Record, forbid_unknown_fields=True):
    """What a model costs at a backend, in USD for a million tokens; only backends are compared by it.

    `input`: tokens of prompts. `output`: tokens of completions.
    """

    input: float = 0.0
    output: float = 0.0


class Candidate(Record, forbid_unknown_fields=True):
    """One of several backends of a model.

    `backend`: its name under `backends`. `served_as`: the model's name there; unless it is told, the name
    callers use. `weight`: its share of the calls, against those of the others; with 0 it is called only where
    none of the others can be. `cost`: what it costs there.
    """

    backend: str
    served_as: str = ""
    weight: float = 1.0
    cost: Cost | None = None


class Model(Record, forbid_unknown_fields=True):
    """A name callers use, and where it is served: at one `backend`, or at several `backends`.

    `backend`: the backend that serves it. `backends`: several, as candidates with weights. `served_as`: its
    name at the `backend`; unless it is told, the name callers use. `fallback`: other models, or aliases, that
    may answer instead where no backend of this one can, in this order; none unless told. `cost`: what it
    costs at the `backend`. `prefer`: which of its backends comes first: `weight` draws by their weights,
    `cost` takes the cheapest for the prompt (one without a cost is free), `latency` the one whose streams
    begin soonest, by those of the last minute and the calls under way. `tasks`: the types of task it is for;
    `task:code` as a model's name leads to the models for code. `weight`: its share of such calls, against
    those of the other models of the task. `context`: the most tokens a prompt may have, where known.
    `vision`: whether it takes images; where none of the three is told, the engine judges. `tools`: whether it
    calls tools. `json_schema`: whether it answers by a JSON Schema.
    `batch_size`: how many calls are worth sending together, for whoever sends many; nothing here goes by it.
    `concurrency`: how many calls one replica runs at once; unless told, the `slots` of the backend's `fleet`.
    A replica that has as many is passed over while another has fewer; where all have, calls wait inside the
    engines. `cold`: what becomes of a call while no engine can be reached, where it does not say so itself:
    `hold` waits for one, `fallback` has another model answer, `fail` refuses; unless told `fallback` where
    there is one, else the process's setting. `deadlines`: how long each phase of a call may take.
    `cache_ttl_s`: how long an answer may be given again, an hour unless told; for tenants that turned caching
    on. `version`: any text; with another one no answer from before is given any more.
    """

    backend: str = ""
    backends: tuple[Candidate, ...] = ()
    served_as: str = ""
    fallback: tuple[str, ...] = ()
    cost: Cost | None = None
    prefer: Preference = "weight"
    tasks: tuple[str, ...] = ()
    weight: float = 1.0
    context: int | None = None
    vision: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    batch_size: int | None = None
    concurrency: int | None = None
    cold: WhenCold | None = None
    deadlines: Deadlines = Deadlines()
    cache_ttl_s: int | None = None
    version: str = ""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Its backends, one or several."""
        return self.backends or (Candidate(backend=self.backend, served_as=self.served_as, cost=self.cost),)

    def takes(self, tokens: int) -> bool:
        """Whether a prompt of about so many tokens may fit."""
        return not self.context or tokens <= self.context * CONTEXT_LENIENCY


class Needs(Record):
    """What a request asks of a model. `tokens`: about how many its prompt has."""

    vision: bool = False
    tools: bool = False
    json_schema: bool = False
    tokens: int = 0


class Place(Record):
    """One place that may answer: a model at a backend, where it is known as `served_as`. `weight` is its
    share among those beside it, `cost` what it costs there.
    """

    model: str
    backend: str
    served_as: str
    weight: float = 1.0
    cost: Cost | None = None


class Plan(Record):
    """Where a name leads. A tier is called where no place of the one before it can be.

    `plain`: the only place, where nothing about a request or its tenant could rule it out. `context`: the
    most tokens any of the places takes, None where that is not known of all. `spread`: whether one of the
    places may have several replicas, so that it matters how a prompt begins. `prefers`: for each tier, which
    of its places comes first.
    """

    tiers: tuple[tuple[Place, ...], ...]
    plain: Place | None = None
    context: int | None = None
    spread: bool = False
    prefers: tuple[Preference, ...] = ("weight",)

    @property
    def places(self) -> tuple[Place, ...]:
        """All of them."""
        return tuple(place for tier in self.tiers for place in tier)

    @property
    def model(self) -> str | None:
        """The one model the name stands for, whatever may answer instead; None for a task of several."""
        names = {place.model for place in self.tiers[0]}
        return names.pop() if len(names) == 1 else None


class Config(Record, forbid_unknown_fields=True, dict=True, gc=True):
    """One immutable, validated version of the document.

    `backends`: where models are served, by name. `models`: what callers may ask for, by name. `aliases`:
    other names of models, or of aliases. `version`: of the form of this document.
    """

    backends: dict[str, Backend]
    models: dict[str, Model]
    aliases: dict[str, str] = {}
    version: int = 1

    @cached_property
    def plans(self) -> dict[str, Plan]:
        """Where every name that callers may use leads: models, aliases and tasks. Made once, when it is first
        asked for.
        """
        models = {name: self._plan((name,)) for name in self.models}
        aliases = {name: models[self.model_of(name)] for name in self.aliases}
        tasks: dict[str, list[str]] = {}
        for name, model in self.models.items():
            for task in model.tasks:
                tasks.setdefault(TASK + task, []).append(name)
        return models | aliases | {task: self._plan(tuple(names)) for task, names in tasks.items()}

    def model_of(self, name: str) -> str:
        """The model an alias stands for; any other name stands for itself."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def resolved(self, name: str) -> str | None:
        """The one model a name of callers leads to; None for no name, and for a task with several models: who
        answers is known only once it did.
        """
        plan = self.plans.get(name)
        return None if plan is None else plan.model

    def place(self, model: str, backend: str) -> Place | None:
        """The model at this backend; None where it is not, or not any more, served there."""
        row = self.models.get(model)
        for one in row.candidates if row is not None else ():
            if one.backend == backend:
                return Place(model=model, backend=backend, served_as=one.served_as or model)
        return None

    def rehearses(self, model: Model) -> bool:
        """Whether answers of a model, maybe of another version of the document, may be made up."""
        found = (self.backends.get(one.backend) for one in model.candidates)
        return any(backend is not None and backend.rehearsal for backend in found)

    def _plan(self, names: tuple[str, ...]) -> Plan:
        order = list(names)
        for name in order:  # it grows meanwhile: the fallbacks of a fallback come after it
            order += [one for one in map(self.model_of, self.models[name].fallback) if one not in order]
        first = tuple(place for name in names for place in self._places(name, shared=len(names) > 1))
        tiers = (first, *(self._places(name) for name in order[len(names) :]))
        rows = [self.models[name] for name in order]
        contexts = [row.context or 0 for row in rows]
        return Plan(
            tiers=tiers,
            plain=first[0] if len(order) == len(first) == 1 and self._is_plain(first[0]) else None,
            context=max(contexts) if all(contexts) else None,
            prefers=tuple(self._preference(tier) for tier in tiers),
            spread=any(self.backends[place.backend].may_be_several for tier in tiers for place in tier),
        )

    def _places(self, name: str, *, shared: bool = False) -> tuple[Place, ...]:
        """Those of a model. Where models share a tier, its weight is theirs together."""
        row = self.models[name]
        total = sum(one.weight for one in row.candidates) or 1.0
        factor = row.weight / total if shared else 1.0
        return tuple(
            Place(
                model=name,
                backend=one.backend,
                served_as=one.served_as or name,
                weight=one.weight * factor,
                cost=one.cost,
            )
            for one in row.candidates
        )

    def _preference(self, tier: tuple[Place, ...]) -> Preference:
        """The one of all its models; where they differ, it is by weight."""
        found = {self.models[place.model].prefer for place in tier}
        return found.pop() if len(found) == 1 else "weight"

    def _is_plain(self, place: Place) -> bool:
        row, backend = self.models[place.model], self.backends[place.backend]
        able = False not in (row.vision, row.tools, row.json_schema)
        return able and not backend.leaves and bool(backend.replicas)
