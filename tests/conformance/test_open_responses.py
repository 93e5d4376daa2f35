"""Open Responses: its acceptance tests as far as they concern HTTP, and the types of its schema."""

from pathlib import Path

import pytest

from tests.conformance.cases import judge
from tests.conformance.judges import OPEN_RESPONSES
from tests.conformance.site import Site

pytestmark = pytest.mark.slow


def test_responses_are_as_open_responses_has_them(site: Site, judging: Path, tmp_path: Path) -> None:
    passed, left_out = judge(judging, site, "open_responses_cases.py", tmp_path / "report.xml")

    assert [] == left_out
    assert OPEN_RESPONSES.score == f"{passed} of {passed}"
