from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from tests.contracts.adapters import (
    ADVICE,
    BODIES,
    BUSES,
    CACHES,
    CONFIG_DOCUMENTS,
    DATA_KEYS,
    GAPS,
    JOB_RUNS,
    JOURNALS,
    KEYED_CALLS,
    KEYS,
    LEDGERS,
    REQUESTS,
    Clock,
    Opener,
)

T = TypeVar("T")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def port(adapters: Mapping[str, Opener[T]]) -> object:
    """A fixture that runs every test once for each adapter."""

    @pytest.fixture(params=list(adapters.values()), ids=list(adapters))
    async def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[T]:
        async with request.param(tmp_path, clock) as adapter:
            yield adapter

    return opened


bus = port(BUSES)
ledger = port(LEDGERS)
requests = port(REQUESTS)
bodies = port(BODIES)
journal = port(JOURNALS)
keys = port(KEYS)
data_keys = port(DATA_KEYS)
job_runs = port(JOB_RUNS)
advice = port(ADVICE)
cache = port(CACHES)
keyed_calls = port(KEYED_CALLS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes away the pairs of a test and an adapter that are gaps."""
    gone = [item for item in items if isinstance(item, pytest.Function) and in_a_gap(item)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


def in_a_gap(item: pytest.Function) -> bool:
    opener = item.callspec.params.get("bus") if hasattr(item, "callspec") else None
    return any(opener is adapter and item.originalname in names for adapter, names in GAPS.items())


config_documents = port(CONFIG_DOCUMENTS)
