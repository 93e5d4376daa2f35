import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.ollama import engines
from tests.ollama.build import VERSION, folder, missing
from tests.ollama.engines import Engine
from tests.ollama.serving import Ollama, serving
from tests.support.platform import Running, running


@pytest.fixture(scope="session")
def ollama(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ollama]:
    """A real Ollama for all tests, one after another; where none can be had here, they are skipped."""
    lacking = missing()
    if lacking is not None:
        pytest.skip(lacking)
    if not (folder() / "ollama").exists():
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\nOllama {VERSION} is built once, which takes minutes.", file=sys.stderr, flush=True)
    with serving(tmp_path_factory.mktemp("ollama")) as made:
        yield made


@pytest.fixture(params=[pytest.param("ollama", marks=pytest.mark.slow), "rehearsal"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """Each of the two engines: what holds for one holds for the other."""
    if request.param == "ollama":
        yield engines.real(request.getfixturevalue("ollama"))
    else:
        async with engines.rehearsed() as made:
            yield made


@pytest.fixture
async def platform(tmp_path: Path, engine: Engine) -> AsyncIterator[Running]:
    """A platform before it."""
    async with running(tmp_path, config=engine.config(tmp_path)) as made:
        yield made
