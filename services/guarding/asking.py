"""Asks a guard about a prompt; what is no verdict is a refusal."""

import asyncio
import logging
from collections.abc import Awaitable
from pathlib import Path
from traceback import extract_tb

from events.words import Problem, Refusal, server_problem
from services.guarding.guard import Allowed, Blocked, Guard, Prompt, Verdict

WITHIN_S = 10.0
BLOCKED = "content_filter"
FAILED = "guard_unavailable"

log = logging.getLogger("penstock.guard")


def ask(guard: Guard, prompt: Prompt) -> Allowed | Refusal | Awaitable[Verdict]:
    """What it says at once, or what to wait for."""
    try:
        said = guard.judge(prompt)
        return said if isinstance(said, Awaitable) else _read(said)
    except Exception as error:  # noqa: BLE001  (whatever it is: what was not judged is not answered)
        return unjudged(error)


async def wait(said: Awaitable[Verdict], within_s: float = WITHIN_S) -> Allowed | Refusal:
    """What it says in the end, or a refusal where that takes too long."""
    try:
        async with asyncio.timeout(within_s):
            return _read(await said)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # it is we who are to stop
            raise
        return unjudged(error)
    except Exception as error:  # noqa: BLE001  (as above)
        return unjudged(error)


async def judged(guard: Guard, prompt: Prompt) -> Allowed | Refusal:
    """Both, for those who can wait anyway."""
    said = ask(guard, prompt)
    return await wait(said) if isinstance(said, Awaitable) else said


def _read(said: object) -> Allowed | Refusal:
    if isinstance(said, Allowed):
        return said
    if isinstance(said, Blocked):
        # The prompt is called what its endpoint calls it: see Endpoint.blame.
        return Refusal(status=400, problem=Problem(message=said.message, code=BLOCKED, param="messages"))
    raise TypeError(f"a verdict is Allowed or Blocked, not {type(said).__name__}")


def unjudged(error: BaseException) -> Refusal:
    """The refusal of a prompt the guard could not judge."""
    log.error("the guard failed on a prompt: %s", told(error))
    problem = server_problem("The prompt cannot be checked right now; try again.", FAILED)
    return Refusal(status=503, problem=problem, retry_after_s=1)


def unchecked(error: BaseException) -> Refusal:
    """The refusal of an answer the guard could not watch."""
    log.error("the guard failed on an answer: %s", told(error))
    problem = server_problem("The answer cannot be checked right now; try again.", FAILED)
    return Refusal(status=503, problem=problem, retry_after_s=1)


def told(error: BaseException) -> str:
    """An error without its words, which may quote what was said."""
    frames = extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where
