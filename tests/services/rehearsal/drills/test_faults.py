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

    def begin_telling(self) -> None:
        self.suffered.append("head")

    def reset(self) -> None:
        self.suffered.append("reset")

    def hang(self) -> None:
        self.suffered.append("hang")

    def cut(self) -> None:
        self.suffered.append("cut")

    def garble(self) -> None:
        self.suffered.append("garbage")

    def tear(self) -> None:
        self.suffered.append("torn")

    def fail(self) -> None:
        self.suffered.append("error")

    def drone(self, every_s: float) -> None:
        self.suffered.append("endless")

    def swell(self, size: int) -> None:
        self.suffered.append(("big", size))

    def crumble(self, every_s: float) -> None:
        self.suffered.append(("crumbs", every_s))

    def drip(self, every_s: float) -> None:
        self.suffered.append(("drip", every_s))


STRIKES: list[tuple[bytes, int, list[object]]] = [
    (b"reset", 0, ["reset"]),
    (b"reset:0", 0, ["head", "reset"]),
    (b"reset:5", 5, ["head", "reset"]),
    (b"reset:99", TOTAL, ["head", "reset"]),
    (b"hang", 0, ["hang"]),
    (b"hang:0", 0, ["head", "hang"]),
    (b"hang:5", 5, ["head", "hang"]),
    (b"cut", TOTAL, ["cut"]),
    (b"cut:0", 0, ["cut"]),
    (b"cut:5", 5, ["cut"]),
    (b"torn", 0, ["torn"]),
    (b"torn:5", 5, ["torn"]),
    (b"garbage", 0, ["garbage"]),
    (b"garbage:5", 5, ["garbage"]),
    (b"error", 0, ["error"]),
    (b"error:5", 5, ["error"]),
    (b"endless", TOTAL, ["endless"]),
    (b"endless:5", 5, ["endless"]),
    (b"big", 0, [("big", 16_777_216)]),
    (b"big:70", 0, [("big", 70)]),
    (b"crumbs", 0, [("crumbs", 0.001)]),
    (b"crumbs:5", 0, [("crumbs", 0.005)]),
    (b"drip", 0, [("drip", 1.0)]),
    (b"drip:20", 0, [("drip", 0.02)]),
    (b"drip:0", 0, [("drip", 0.0)]),
]


@pytest.mark.parametrize(("wish", "at", "suffered"), STRIKES)
def test_each_fault_strikes_when_and_as_it_says(wish: bytes, at: int, suffered: list[object]) -> None:
    interruption = asked_by(wish).interruption(TOTAL)
    answer = Noting()
    interruption.act(answer)
    assert (at, suffered) == (interruption.at, answer.suffered)


def test_the_table_above_knows_every_fault() -> None:
    assert {wish.partition(b":")[0].decode() for wish, _, _ in STRIKES} == set(FAULTS)


@pytest.mark.parametrize(
    ("wish", "status", "retry_after_s"),
    [
        (b"status", 503, None),
        (b"status:429", 429, None),
        (b"status:429:7", 429, 7),
        (b"status::0", 503, 0),
        (b" status:500 ", 500, None),
    ],
)
def test_a_status_is_a_refusal(wish: bytes, status: int, retry_after_s: int | None) -> None:
    refusal = asked_by(wish).refusal()
    assert refusal is not None
    assert (status, retry_after_s) == (refusal.status, refusal.retry_after_s)


def test_a_status_may_say_when_to_come_back() -> None:
    refusal = Fault(fault="status", n=429, retry_after_s=3).refusal()
    assert refusal is not None
    assert 3 == refusal.retry_after_s
    assert Fault(fault="reset").refusal() is None


@pytest.mark.parametrize(
    "wish",
    [b"explode", b"reset:x", b"reset:-1", b"status:200", b":5", b"\xff", b"status:429:-1", b"big:999999999"],
)
def test_what_is_no_fault_is_refused(wish: bytes) -> None:
    with pytest.raises(Invalid):
        asked_by(wish)


def test_a_fault_that_exists_passes() -> None:
    fault = Fault(fault="drip", n=5)
    assert fault is checked(fault)
