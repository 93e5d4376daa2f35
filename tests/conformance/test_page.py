"""The page about judges says what their table says, and the table has every test."""

import os
from pathlib import Path

from tests.conformance.judges import ALL
from tests.conformance.page import PAGE, page
from tests.conformance.site import uncalled

HERE = Path(__file__).parent
OWN = {"test_page.py", "test_installed.py"}


def test_every_judge_is_in_the_table() -> None:
    assert {judge.test for judge in ALL} == {path.name for path in HERE.glob("test_*.py")} - OWN


def test_the_page_is_current() -> None:
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page(), encoding="utf-8")

    assert page() == PAGE.read_text(encoding="utf-8"), "UPDATE_DOCS=1 has it written anew"


def test_an_endpoint_that_nobody_called_is_noticed() -> None:
    called = ["GET /v1/models/a/b", "GET /v1/requests/req_1", "GET /health"]
    left = uncalled(called)

    assert {"GET /v1/models", "POST /v1/requests/{name}/cancel", "GET /ready"} <= left
    assert not left & {"GET /v1/models/{name:path}", "GET /v1/requests/{name}", "GET /health"}
