"""Nothing is lost and every token is billed once, whichever process of the platform is killed.

`KILL_SEED` repeats a run's choices; `KILL_RESULT` names a file that gets its numbers as JSON.
"""

import json
import os
import secrets
import time
from pathlib import Path

import pytest

from tests.kill.topology.campaign import CI, SOAK, Campaign, Size
from tests.kill.topology.oracle import all_violations
from tests.kill.topology.rig import set_up

pytestmark = pytest.mark.anyio

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
    began = time.monotonic()
    async with set_up(tmp_path, seed) as rig:
        campaign = Campaign(rig, size, say)
        await campaign.run()
        whole = await rig.whole()
    result = {
        "seed": seed,
        "took_s": round(time.monotonic() - began),
        **campaign.summary(whole),
        "violations": all_violations(whole),
    }
    say(json.dumps(result, indent=2))
    if path := os.environ.get("KILL_RESULT"):
        Path(path).write_text(json.dumps(result, indent=2) + "\n")
    assert [] == result["violations"]
