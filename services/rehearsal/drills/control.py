"""The endpoints by which holds and faults are set while an engine runs."""

from collections.abc import Callable, Collection

import msgspec

from events.words import Invalid, Problem, Refusal
from services.front.call import Call, Reply
from services.rehearsal.answer import Answer
from services.rehearsal.drills.faults import checked
from services.rehearsal.drills.plans import Hold, Plans, Rule
from services.rehearsal.schedule.slots import Slots
from services.rehearsal.wire.heads import WHOLE, refuse


class Control:
    """The endpoints under `/rehearsal/`; each returns a JSON document."""

    def __init__(self, plans: Plans, answers: Collection[Answer], slots: Slots) -> None:
        self._plans = plans
        self._answers = answers
        self._slots = slots
        self._routes: dict[tuple[bytes, bytes], Callable[[bytes], object]] = {
            (b"POST", b"/rehearsal/hold"): self._hold,
            (b"POST", b"/rehearsal/release"): self._release,
            (b"POST", b"/rehearsal/faults"): self._add_fault,
            (b"DELETE", b"/rehearsal/faults"): self._forget_faults,
            (b"GET", b"/rehearsal/state"): self._state,
        }

    def answers(self, call: Call, reply: Reply) -> bool:
        """Whether that was a call for it; if so it is answered."""
        route = self._routes.get((call.method, call.path))
        if route is None:
            return False
        try:
            told = route(call.body)
        except (Invalid, msgspec.DecodeError) as error:
            refuse(reply, Refusal(status=400, problem=Problem(message=str(error))))
        else:
            reply.send(200, WHOLE, msgspec.json.encode(told))
        return True

    def _hold(self, body: bytes) -> object:
        self._plans.add_hold(msgspec.json.decode(body, type=Hold))
        return {}

    def _release(self, _: bytes) -> object:
        """All that are held go on, and no further request is held."""
        self._plans.forget_holds()
        held = [answer for answer in self._answers if answer.held]
        for answer in held:
            answer.go_on()
        return {"released": len(held)}

    def _add_fault(self, body: bytes) -> object:
        rule = msgspec.json.decode(body, type=Rule)
        checked(rule)
        self._plans.add_rule(rule)
        return {}

    def _forget_faults(self, _: bytes) -> object:
        self._plans.forget_rules()
        return {}

    def _state(self, _: bytes) -> object:
        """Every request under way, in one of three lists, oldest first."""
        state: dict[str, list[object]] = {"running": [], "waiting": [], "held": []}
        for answer in self._answers:
            if answer.held:
                state["held"].append({"attempt": answer.attempt, "phase": answer.held})
            else:
                waits = answer in self._slots.waiting
                state["waiting" if waits else "running"].append(answer.attempt)
        return state
