"""A platform whose engine is the rehearsal engine, both in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from services.rehearsal.endpoint import Options
from services.rehearsal.engine import RehearsalEngine
from services.rehearsal.profiles import INSTANT
from tests.support.platform import Running, running

MODEL = "gemma-3-4b-it"


@asynccontextmanager
async def rehearsing(folder: Path, **settings: Any) -> AsyncIterator[Running]:
    """It answers at once, and says that it only rehearses."""
    engine = RehearsalEngine(Options(profile=INSTANT, model=MODEL))
    port = await engine.start("127.0.0.1", 0)
    document = {
        "backends": {"rehearsal": {"replicas": [f"http://127.0.0.1:{port}"], "rehearsal": True}},
        "models": {MODEL: {"backend": "rehearsal", "context": 131_072}},
    }
    path = folder / "rehearsal.yaml"
    path.write_text(yaml.safe_dump(document))
    try:
        async with running(folder, config=str(path), **settings) as platform:
            yield platform
    finally:
        await engine.close()
