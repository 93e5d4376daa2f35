"""Header lines are what they seem: no value can end its line and begin another."""

from hypothesis import given
from hypothesis import strategies as st

from services.front.call import Call, status_line
from services.wire.fields import field


@given(st.text())
def test_a_header_line_is_one_line_whatever_its_value(value: str) -> None:
    line = field("x-name", value)

    assert line.startswith(b"x-name: ")
    assert line.endswith(b"\r\n")
    assert not set(b"\r\n\0") & set(line[:-2])
    assert line.isascii()


def test_every_status_has_its_line() -> None:
    assert b"HTTP/1.1 200 OK\r\n" == status_line(200)
    assert b"HTTP/1.1 599 \r\n" == status_line(599)


def test_a_target_is_split_once() -> None:
    call = Call(b"GET", b"/a?b?c", {})

    assert (b"/a", b"b?c") == (call.path, call.query)
    assert b"" == call.header(b"x-missing")
