from pathlib import Path

import pytest

from services.rehearsal.journal import Accepted, Ended, Journal, Row, read_rows

ACCEPTED = Accepted(id="c-1", attempt="r.1", prompt_tokens=3, at=1.5)
ENDED = Ended(
    id="c-1",
    attempt="r.1",
    outcome="cancelled",
    prompt_tokens=3,
    cached_tokens=0,
    completion_tokens=9,
    sent_tokens=7,
    at=2.5,
)


def test_rows_are_lines_of_json_and_there_once_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal(path)
    journal.add(ACCEPTED)
    assert (
        b'{"event":"accepted","id":"c-1","attempt":"r.1","prompt_tokens":3,"at":1.5}\n' == path.read_bytes()
    )
    journal.add(ENDED)
    assert [ACCEPTED, ENDED] == read_rows(path)
    journal.close()


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    rows: list[Row] = [ACCEPTED, ENDED]
    for row in rows:
        journal = Journal(path)
        journal.add(row)
        journal.close()
    assert rows == read_rows(path)


def test_rows_after_the_close_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal(path)
    journal.close()
    journal.close()
    journal.add(ACCEPTED)
    assert [] == read_rows(path)


def test_without_a_path_nothing_is_written() -> None:
    journal = Journal()
    journal.add(ACCEPTED)
    journal.close()


def test_a_log_that_cannot_be_written_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "no" / "log")
