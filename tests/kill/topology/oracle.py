"""What must hold beside what holds on one machine: each message is one request, each said under one id."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.kill.facts import Facts
from tests.kill.oracle import violations


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The facts; `announced` are the accepted requests that the request function told of, each with the
    event's id; `published` are the requests that messages on the ingest topic make.
    """

    facts: Facts
    announced: tuple[tuple[str, str], ...]
    published: frozenset[str]


def all_violations(whole: Whole) -> list[str]:
    """Everything that is wrong, each with the check that says so."""
    checks = (each_message_is_one_request, requests_are_announced_once)
    return violations(whole.facts) + [
        f"{check.__name__}: {text}" for check in checks for text in check(whole)
    ]


def each_message_is_one_request(whole: Whole) -> Iterator[str]:
    """However often a message comes, its request is the one its id names."""
    told = {request for request, _ in whole.announced}
    for request in told - whole.published:
        yield f"{request} was made of no message that was published"
    for request in whole.published - told:
        yield f"{request} was published, and never made"


def requests_are_announced_once(whole: Whole) -> Iterator[str]:
    """A handler that runs again says the same events again, under the same ids."""
    ids: dict[str, set[str]] = defaultdict(set)
    for request, event in whole.announced:
        ids[request].add(event)
    for request, found in ids.items():
        if len(found) > 1:
            yield f"{request} is announced under {len(found)} ids"
