"""LangChain's standard tests for chat models and embeddings."""

from pathlib import Path

import pytest

from tests.conformance.cases import judge
from tests.conformance.judges import LANGCHAIN
from tests.conformance.site import Site

pytestmark = pytest.mark.slow


def test_langchains_standard_tests_pass(site: Site, judging: Path, tmp_path: Path) -> None:
    passed, left_out = judge(judging, site, "langchain_cases.py", tmp_path / "report.xml")

    assert LANGCHAIN.excluded.keys() == {*left_out}
    assert LANGCHAIN.score == f"{passed} of {passed}, {len(left_out)} excluded"
