"""A platform that judges call: `penstock up` before a `penstock engine`, each a process of its own."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from services.router.openapi import OPERATIONS
from tests.support.command import environment, started, up

MODEL, OTHER = "gemma-3-4b-it", "gemma-3-27b-it"
CLAIMED = {f"{row.method.upper()} {row.path}" for row in OPERATIONS}


def uncalled(called: Iterable[str]) -> set[str]:
    """The endpoints we claim that none of these calls, such as `GET /v1/models/gemma`, went to."""
    calls = list(called)
    return {claim for claim in CLAIMED if not any(re.fullmatch(_pattern(claim), call) for call in calls)}


def _pattern(claim: str) -> str:
    return re.sub(r"{\w+(:path)?}", lambda found: ".+" if found[1] else "[^/]+", claim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where it is, and a key for it."""

    url: str
    key: str

    def environment(self, **more: str) -> dict[str, str]:
        """What a judge in a process of its own is told, by the names OpenAI's clients read."""
        told = {"OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": self.key}
        return environment(SITE_URL=self.url, MODEL=MODEL, OTHER_MODEL=OTHER, **told, **more)


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """Serves two models on free ports, each from a rehearsal engine of its own, which answers at once."""
    with _engine(MODEL) as first, _engine(OTHER) as second:
        backends = {
            name: {"replicas": [url], "rehearsal": True} for name, url in ((MODEL, first), (OTHER, second))
        }
        models = {name: {"backend": name, "context": 131_072} for name in backends}
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump({"backends": backends, "models": models}))
        with up(folder / "data", PENSTOCK_CONFIG=str(config)) as platform:
            yield Site(url=platform.first_line["url"], key=platform.key)


@contextmanager
def _engine(model: str) -> Iterator[str]:
    with started("engine", "--profile", "instant", "--port", "0", "--model", model, "--json") as process:
        line = process.line()
        assert line, process.end().err
        yield json.loads(line)["url"]
