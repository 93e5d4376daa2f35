"""Two engines behind one face: a real Ollama, and the rehearsal engine set up as narrow as that."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from services.rehearsal.endpoint import Options
from services.rehearsal.engine import RehearsalEngine
from services.rehearsal.profiles import Profile, Steady
from tests.ollama.serving import BRIEF, CONTEXT, ENDLESS, Ollama
from tests.support import client
from tests.support.platform import CHAT, eventually

HELLO: list[Any] = [{"role": "user", "content": "What is a penstock?"}]
FOREVER = {"ignore_eos": True}  # how the rehearsal engine is told what the model is Ollama's endless one for
REHEARSED = "gemma-3-4b-it"
NARROW = Profile(name="narrow", pace=Steady(token_s=0.002), slots=1, queue=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One answer at a time and a few that wait; `brief` ends its answers soon, `endless` (asked to go on
    `FOREVER`) only after a minute or more.
    """

    name: str
    url: str
    serves: dict[str, str]  # by the name callers use
    contexts: dict[str, int]  # tokens a prompt may have
    ollama: Ollama | None = None

    def config(self, folder: Path, **more: Any) -> str:
        """The file of a configuration with these models; `more` is said of each."""
        models = {
            name: {"backend": "pool", "served_as": served, **more} for name, served in self.serves.items()
        }
        backend = {"replicas": [self.url], "rehearsal": self.name == "rehearsal"}
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump({"backends": {"pool": backend}, "models": models}))
        return str(path)

    async def answers(self) -> None:
        """Fails where it does not answer soon, as it would not while it is busy with something long."""
        asked = {"model": self.serves[ENDLESS], "messages": HELLO, "max_tokens": 1}
        place = urlsplit(self.url)
        headers = {"content-type": "application/json", "host": place.netloc}
        answer = await client.ask(place.port or 0, "POST", CHAT, json.dumps(asked).encode(), headers)
        assert 200 == answer.status, answer.body

    async def comes_to_rest(self) -> None:
        """Fails where it goes on working, though nobody waits for anything any more."""
        if self.ollama is None:
            await self.answers()
            return
        ollama = self.ollama

        async def rests() -> bool:
            before = ollama.runners()
            await asyncio.sleep(0.3)
            after = ollama.runners()
            return bool(after) and all(ticks <= before.get(pid, 0) + 1 for pid, ticks in after.items())

        await eventually(rests)
        # What it computes on has stopped, but who leaves a stream at the wrong moment leaves it with a slot
        # less (https://github.com/ollama/ollama/issues/17131). With a new runner it has all of them again.
        ollama.kill_runners()


def real(ollama: Ollama) -> Engine:
    """Ollama, which knows both models by their names."""
    serves = {BRIEF: BRIEF, ENDLESS: ENDLESS}
    return Engine(name="ollama", url=ollama.url, serves=serves, contexts=CONTEXT, ollama=ollama)


@asynccontextmanager
async def rehearsed() -> AsyncIterator[Engine]:
    """The rehearsal engine in this process; behind both names is its one model."""
    context = CONTEXT[ENDLESS]
    engine = RehearsalEngine(Options(profile=NARROW, model=REHEARSED, context=context))
    port = await engine.start("127.0.0.1", 0)
    try:
        yield Engine(
            name="rehearsal",
            url=f"http://127.0.0.1:{port}",
            serves={BRIEF: REHEARSED, ENDLESS: REHEARSED},
            contexts={BRIEF: context, ENDLESS: context},
        )
    finally:
        await engine.close()
