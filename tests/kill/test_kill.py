"""Nothing is lost and every token is billed once, however often and wherever the platform is killed.

`KILL_SEED` repeats a run's choices; `KILL_RESULT` names a file that gets its numbers as JSON.
"""

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kill.oracle import violations
from tests.kill.rig.campaign import CI, SOAK, Campaign, Size
from tests.kill.rig.rig import set_up
from tests.needs import needs

pytestmark = [pytest.mark.anyio, needs("strace", "apt install strace")]

SIZES = [
    pytest.param(CI, id="ci", marks=pytest.mark.slow),
    pytest.param(SOAK, id="soak", marks=pytest.mark.soak),
]


@pytest.mark.parametrize("size", SIZES)
async def test_kills_lose_nothing_and_bill_once(
    size: Size, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("KILL_SEED") or secrets.randbits(32))

    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    say(f"\nKILL_SEED={seed}")
    result = await run(size, seed, tmp_path, say)
    say(json.dumps(result, indent=2))
    if path := os.environ.get("KILL_RESULT"):
        Path(path).write_text(json.dumps(result, indent=2) + "\n")
    assert [] == result["violations"]


async def run(size: Size, seed: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    began = time.monotonic()
    async with set_up(folder, seed) as under_test:
        campaign = Campaign(under_test, size, say)
        await campaign.run()
        facts = await under_test.facts()
    return {
        "seed": seed,
        "took_s": round(time.monotonic() - began),
        **campaign.summary(facts),
        "violations": violations(facts),
    }
