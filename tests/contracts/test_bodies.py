from datetime import timedelta
from pathlib import Path

import pytest

from events.requests import LARGEST_BODY
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.data_keys import MemoryDataKeys
from services.sealing.sealer import Sealer
from tests.contracts.adapters import START, Bodies, Clock

pytestmark = pytest.mark.anyio

SOON = START + timedelta(seconds=10)
LATER = START + timedelta(seconds=20)


async def test_a_body_comes_back_as_it_was_put(bodies: Bodies) -> None:
    await bodies.put("a", b"\x00sealed\xff", SOON)

    assert await bodies.get("a") == b"\x00sealed\xff"
    assert await bodies.get("b") is None


async def test_an_empty_body_is_a_body(bodies: Bodies) -> None:
    await bodies.put("a", b"", SOON)

    assert await bodies.get("a") == b""


async def test_putting_again_replaces_body_and_time(bodies: Bodies, clock: Clock) -> None:
    await bodies.put("a", b"first", SOON)
    await bodies.put("a", b"second", LATER)
    clock.forward(15)

    assert await bodies.get("a") == b"second"


async def test_a_body_is_gone_from_the_moment_its_time_is_over(bodies: Bodies, clock: Clock) -> None:
    await bodies.put("a", b"sealed", SOON)

    clock.forward(9.999999)
    assert await bodies.get("a") == b"sealed"
    clock.forward(0.000001)
    assert await bodies.get("a") is None


async def test_deleting_passes_over_what_is_not_there(bodies: Bodies) -> None:
    await bodies.put("a", b"sealed", SOON)
    await bodies.put("b", b"sealed", SOON)
    await bodies.delete(["a", "nobody"])
    await bodies.delete([])

    assert await bodies.get("a") is None
    assert await bodies.get("b") == b"sealed"


async def test_forgetting_deletes_a_few_of_those_whose_time_is_over(bodies: Bodies) -> None:
    for name in "abc":
        await bodies.put(name, b"sealed", SOON)
    await bodies.put("d", b"sealed", LATER)

    assert await bodies.forget(START, limit=10) == 0
    assert await bodies.forget(SOON, limit=2) == 2
    assert await bodies.forget(SOON, limit=2) == 1
    assert await bodies.get("d") == b"sealed"


async def test_the_largest_body_of_a_request_is_kept_as_it_is_sealed(bodies: Bodies, tmp_path: Path) -> None:
    sealer = Sealer(FileMasterKey(tmp_path / "master-key"), MemoryDataKeys())
    sealed = await sealer.seal("acme", "prompt", "a", bytes(LARGEST_BODY))

    await bodies.put("a", sealed, SOON)

    assert await bodies.get("a") == sealed


async def test_a_large_body_is_kept_whole(bodies: Bodies) -> None:
    large = bytes(range(256)) * 8_000

    await bodies.put("a", large, SOON)

    assert await bodies.get("a") == large
