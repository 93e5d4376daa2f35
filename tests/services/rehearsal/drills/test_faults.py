import pytest

from events.words import Invalid
from services.rehearsal.drills.faults import FAULTS, Fault, asked_by, checked

TOTAL = 20


class Noting:
    """An answer that writes down what is done to it."""

    def __init__(self) -> None:
        self.suffered: list[object] = []

    def hold(self, phase: str) -> None:
        self.suffered.append(phase)

    def reset(self) -> None:
        self.suffered.append("reset")

    def hang(self) -> None:
        self.suffered.append("hang")

    def cut(self) -> None:
        self.suffered.append("cut")

    def garble(self) -> None:
        self.suffered.append("garbage")

    def drip(self, every_s: float) -> None:
        self.suffered.append(every_s)


@pytest.mark.parametrize(
    ("wish", "at", "suffered"),
    [
        (b"reset", 0, "reset"),
        (b"reset:5", 5, "reset"),
        (b"reset:99", TOTAL, "reset"),
        (b"hang", 0, "hang"),
        (b"hang:5", 5, "hang"),
        (b"cut", TOTAL, "cut"),
        (b"cut:0", 0, "cut"),
        (b"cut:5", 5, "cut"),
        (b"garbage", 0, "garbage"),
        (b"garbage:5", 5, "garbage"),
        (b"drip", 0, 1.0),
        (b"drip:20", 0, 0.02),
        (b"drip:0", 0, 0.0),
    ],
)
def test_each_fault_strikes_when_and_as_it_says(wish: bytes, at: int, suffered: object) -> None:
    interruption = asked_by(wish).interruption(TOTAL)
    answer = Noting()
    interruption.act(answer)
    assert (at, [suffered]) == (interruption.at, answer.suffered)


def test_the_table_above_knows_every_fault() -> None:
    assert {"reset", "hang", "cut", "garbage", "drip"} == set(FAULTS)


@pytest.mark.parametrize(("wish", "status"), [(b"status", 503), (b"status:429", 429), (b" status:500 ", 500)])
def test_a_status_is_a_refusal(wish: bytes, status: int) -> None:
    refusal = asked_by(wish).refusal()
    assert refusal is not None
    assert status == refusal.status


def test_a_status_may_say_when_to_come_back() -> None:
    refusal = Fault(fault="status", n=429, retry_after_s=3).refusal()
    assert refusal is not None
    assert 3 == refusal.retry_after_s
    assert Fault(fault="reset").refusal() is None


@pytest.mark.parametrize("wish", [b"explode", b"reset:x", b"reset:-1", b"status:200", b":5", b"\xff"])
def test_what_is_no_fault_is_refused(wish: bytes) -> None:
    with pytest.raises(Invalid):
        asked_by(wish)


def test_a_fault_that_exists_passes() -> None:
    fault = Fault(fault="drip", n=5)
    assert fault is checked(fault)
