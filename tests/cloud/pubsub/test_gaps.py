from tests.cloud.pubsub.gaps import GAPS, table
from tests.contracts import test_bus


def test_every_gap_is_a_test_of_the_contract_and_says_why() -> None:
    assert all(callable(getattr(test_bus, name, None)) for name in GAPS)
    assert all(GAPS.values())


def test_the_table_has_a_row_for_every_gap() -> None:
    assert len(GAPS) + 2 == len(table().splitlines())
