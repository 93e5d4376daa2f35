from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.installed import missing_node, node_modules, python
from tests.conformance.site import Site, serving


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform of its own for each judge, so that what one leaves behind is nothing to another."""
    with serving(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="session")
def modules() -> Path:
    """Node's packages; where there is no Node, tests that need them are skipped."""
    lacking = missing_node()
    if lacking is not None:
        pytest.skip(lacking)
    return node_modules()


@pytest.fixture(scope="session")
def judging() -> Path:
    """The Python that has the judges."""
    return python()
