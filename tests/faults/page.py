"""`docs/faults.md`, as the table of faults tells it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.faults.queued import Queued, queued_end
from tests.faults.table import ATTEMPTS, Kind, Row, rows

KINDS: tuple[Kind, ...] = ("any", "whole")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

HEAD = f"""# What callers see when an engine goes bad

*Written from the table in `tests/faults`, which holds a router to every line of it over real sockets;
`UPDATE_DOCS=1` has it written anew.*

Each line is a request whose only engine does this to each call. *Calls* are those the engine gets: at
most {ATTEMPTS} (`PENSTOCK_ATTEMPTS`), and none once a part of an answer was passed on. *Billed* says
whether there is a bill row, and whose count of tokens it has: the engine's, or our estimate where the
engine told none. *Another replica* says whether a good one beside it gives its answer instead, so that
nobody notices.

What holds in every line:

- What looks finished is finished. A stream ends with `[DONE]`, or with an event that has an `error`, and
  then without `[DONE]`. Where the connection merely ends, the answer is not whole.
- Who saw a part of an answer is billed for that part, once. Who saw nothing but an error is not billed.
- Errors are OpenAI's envelope. An engine's own words are passed on only where they are about the request
  (400, 413, 422); its 401 or 404 is about how it is set up, and never told as the caller's.

What to do about it in a client: handle an error in a stream like one in place of an answer; the official
clients raise `APIError` for both. Throw away the part that came, since an answer begun anew is another
one. 429, 5xx and every error in a stream may be tried again, after `retry-after` where that is told. The
official clients do so by themselves, but not once a stream began. Asking again does not help with 400,
413 and 422.
"""

QUEUED = """
## A queued request

`POST /v1/requests` asks engines for answers in one piece, so its ends follow from those above. Only an answer
is billed. A response in the background that is streamed asks for a stream, and ends as well; whoever follows
it while an attempt fails is told by an event `error` that it is made anew
([api.md](api.md#in-the-background)).

| The client would see | The request |
|---|---|
"""

COLUMNS = """
| The engine's fault | The client sees | Calls | Billed | Another replica |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return "".join(
        (
            HEAD,
            "\n## Whatever was asked for\n",
            _table(rows("any")),
            "\n## An answer in one piece\n",
            _table(rows("whole")),
            "\n## A stream\n",
            _table(rows("streamed")),
            QUEUED,
            *_queued(),
        )
    )


def _queued() -> Iterator[str]:
    ends = {row.ends.told: queued_end(row.ends) for kind in KINDS for row in rows(kind) if row.steady}
    return (f"| {told} | {_rests(queued)} |\n" for told, queued in ends.items())


def _rests(queued: Queued) -> str:
    match queued.state:
        case "completed":
            return "is completed"
        case "waits":
            return "waits and is tried again, with pauses, until its deadline"
    tried = " after `PENSTOCK_QUEUE_FAILURES` calls" if queued.calls > 1 else " at once"
    return "fails" + tried + (f", with `{queued.code}`" if queued.code else ", in the engine's words")


def _table(shown: Iterable[Row]) -> str:
    return COLUMNS + "".join(map(_line, shown))


def _line(row: Row) -> str:
    ends = row.ends
    answered = ends.status == 200 and ends.code is None
    other = "answers" if ends.elsewhere else "" if answered else "does not help"
    return f"| {row.name} | {ends.told} | {ends.calls} | {ends.bill or 'no'} | {other} |\n"
