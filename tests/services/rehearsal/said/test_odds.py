import math

import pytest

from services.rehearsal.said.odds import likeliest, logprob


@pytest.mark.parametrize("token", [b" pen", b"the", b"", b" the", "é".encode()])
@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_the_likeliest_are_as_many_as_asked_for_and_share_one_chance(token: bytes, count: int) -> None:
    told = list(likeliest(token, count))
    assert count == len({other for other, _ in told})
    assert [(token, logprob(token))][:count] == told[:1]
    assert sorted((odds for _, odds in told), reverse=True) == [odds for _, odds in told]
    assert sum(math.exp(odds) for _, odds in told) <= 1.000001
