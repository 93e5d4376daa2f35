"""The table of faults is whole, and its page says what it says."""

import os

from tests.faults.page import PAGE, page
from tests.faults.table import ALL, STREAMED_ENDS, WHOLE_ENDS
from tests.support.bad_engines import ALWAYS, STREAMED, WHOLE


def test_every_fault_has_its_line() -> None:
    assert ALWAYS.keys() == ALL.keys()
    assert WHOLE.keys() == ALL.keys() | WHOLE_ENDS.keys()
    assert STREAMED.keys() == ALL.keys() | STREAMED_ENDS.keys()


def test_the_page_is_current() -> None:
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page(), encoding="utf-8")

    assert page() == PAGE.read_text(encoding="utf-8"), "UPDATE_DOCS=1 has it written anew"
