"""Moves a schedule along the event loop's clock: one timer for all sequences."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from services.rehearsal.schedule.slots import Sequence, Slots

TICK_S = 0.001  # steps due closer together than this share a wake-up


class Schedule(Protocol):
    """Decides who is decoded when; times are the clock's seconds."""

    slots: Slots

    def due(self) -> float | None:
        """When the next step is to be made, if one is."""

    def step(self) -> Iterable[Sequence]:
        """Makes it; the sequences it moved."""

    def join(self, sequence: Sequence, now: float) -> None:
        """A sequence wants to be decoded."""

    def leave(self, sequence: Sequence, now: float) -> None:
        """A sequence is done, or nobody wants it any more. Safe to repeat."""

    def extend(self, sequence: Sequence, goal: int, now: float) -> None:
        """A sequence that is in shall go on to a further goal."""


class Driver:
    """Makes each step when it is due, late by a tick at most, and tells the sequences it moved.

    What they do when told happens at the step's own time, not at the later one it is told: lateness
    does not add up.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._step_at: float | None = None  # while steps are being made

    @property
    def slots(self) -> Slots:
        """Who runs and who waits."""
        return self._schedule.slots

    def join(self, sequence: Sequence) -> None:
        """See `Schedule.join`. An engine without delays is done with it when this returns."""
        if self._timer is not None:
            self._run()  # what is due by now comes first
        self._schedule.join(sequence, self._now())
        self._run()

    def leave(self, sequence: Sequence) -> None:
        """See `Schedule.leave`."""
        self._schedule.leave(sequence, self._now())
        self._run()

    def extend(self, sequence: Sequence, goal: int) -> None:
        """See `Schedule.extend`."""
        self._schedule.extend(sequence, goal, self._now())
        self._run()

    def close(self) -> None:
        """Nothing moves any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _now(self) -> float:
        return self._loop.time() if self._step_at is None else self._step_at

    def _run(self) -> None:
        if self._step_at is not None:
            return  # a sequence that was told did something: the loop below sees to it
        now = self._loop.time()
        try:
            while (due := self._schedule.due()) is not None and due <= now:
                self._step_at = due
                for sequence in self._schedule.step():
                    sequence.moved()
        finally:
            self._step_at = None
            self._set_timer(self._schedule.due(), now)

    def _set_timer(self, due: float | None, now: float) -> None:
        if self._timer is not None:
            if due is not None and self._wakes_at <= due + TICK_S:
                return  # an early wake-up costs less than a new timer each time
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._wakes_at = max(due, now + TICK_S)
            self._timer = self._loop.call_at(self._wakes_at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._run()
