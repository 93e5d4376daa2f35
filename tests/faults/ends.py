"""What becomes of a request, told as a value: the table of faults is made of these."""

from typing import Literal, NamedTuple

from tests.faults.seen import Seen

Bill = Literal["counted", "estimated"]


class Ends(NamedTuple):
    """The end of a request whose only engine is bad.

    `code`: the error's; behind a 200 it is told in-band. `calls`: those the engine gets. `bill`: where there
    is a row, what its tokens are. `elsewhere`: a good engine beside it would have answered instead.
    """

    status: int
    code: str | None = None
    calls: int = 1
    bill: Bill | None = None
    elsewhere: bool = False

    @property
    def told(self) -> str:
        """What the client sees, in words."""
        if self.status != 200:
            return f"{self.status} `{self.code}`" if self.code else f"{self.status}, in the engine's words"
        return f"a part, then `{self.code}` in-band" if self.code else "the answer"


def ends(seen: Seen, *, elsewhere: bool) -> Ends:
    """What was seen, as such a value."""
    bill = seen.bill[0] if seen.bill else None
    return Ends(
        status=seen.status,
        code=seen.read.code,
        calls=seen.calls,
        bill=None if bill is None else "estimated" if bill.estimated else "counted",
        elsewhere=elsewhere,
    )
