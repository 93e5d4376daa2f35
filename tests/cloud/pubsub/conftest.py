"""The Pub/Sub adapters need Google's packages, an emulator, and a Java to run it."""

from collections.abc import AsyncIterator

import pytest

from tests.cloud import emulators
from tests.cloud.pubsub import opening

# Without the packages these modules cannot be imported; the contract suite says what is missing.
collect_ignore_glob = [] if emulators.missing(emulators.PUBSUB) is None else ["test_*.py"]


@pytest.fixture(scope="module")
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """The tests of a module share an event loop: gRPC brings late news of a call to whatever loop is running,
    and fails there where the call's own loop was closed.
    """
    yield
    await opening.settle()


@pytest.fixture
async def project(one_loop: None) -> AsyncIterator[opening.Project]:
    async with opening.project() as opened:
        yield opened
