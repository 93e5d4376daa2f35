"""What waits for the end of a call."""

from functools import partial

from services.router.idempotency.later import Later


def test_what_waits_is_said_once_in_its_order_when_the_call_is_over() -> None:
    said: list[int] = []
    later = Later()
    for number in (1, 2):
        later.do(partial(said.append, number))
    before = list(said)
    later.over()
    later.over()

    assert ([], [1, 2]) == (before, said)


def test_behind_the_end_nothing_waits() -> None:
    said: list[int] = []
    later = Later()
    later.over()
    later.do(lambda: said.append(1))

    assert [1] == said
