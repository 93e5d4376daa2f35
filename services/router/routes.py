"""Chooses where a request goes, by what this process knows of tenants and of what is lacking here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from events.config import Config, Place
from events.words import Refusal
from functions.request.admission import Admitted
from functions.routing.policy import NOTHING, Ask, Choice, candidates, choose


def _nobody(tenant: str) -> bool:
    return False


def _nothing() -> Mapping[str, str]:
    return NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """`lacking`: what backends need that is not here. `may_leave`: whether a tenant's prompts may leave the
    VPC. `waits`: how long backends take to begin, in seconds, where that is known.
    """

    config: Callable[[], Config]
    lacking: Callable[[], Mapping[str, str]] = _nothing
    may_leave: Callable[[str], bool] = _nobody
    waits: Callable[[], Mapping[str, float]] = dict

    def places(self, admitted: Admitted, tenant: str) -> tuple[Place, ...] | Refusal:
        """The places to call, the best first."""
        plan = self.config().plans.get(admitted.model)
        if plan is not None and plan.plain is not None:
            return plan.tiers[0]
        choice = self.all(admitted, tenant)
        return choice if isinstance(choice, Refusal) else choice.places

    def all(self, admitted: Admitted, tenant: str) -> Choice | Refusal:
        """Every place that may be called, in its order, and why the others may not."""
        config = self.config()
        plan = config.plans.get(admitted.model)
        timed = plan is not None and "latency" in plan.prefers
        ask = Ask(
            needs=admitted.needs,
            may_leave=self.may_leave(tenant),
            seed=admitted.seed,
            waits=self.waits() if timed else {},
        )
        return candidates(admitted.model, config, ask, self.lacking())

    def plainly(self, name: str, tenant: str) -> Place | Refusal:
        """Where a request goes that needs nothing special."""
        return choose(name, self.config(), Ask(may_leave=self.may_leave(tenant)), self.lacking())

    def served(self, tenant: str) -> dict[str, Place]:
        """What a tenant may name as a model here and now, and where each name leads, by name."""
        found = {name: self.plainly(name, tenant) for name in sorted(self.config().plans)}
        return {name: place for name, place in found.items() if not isinstance(place, Refusal)}
