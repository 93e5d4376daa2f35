"""The table of faults: what becomes of a request whose engine goes bad in each way there is."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tests.faults.ends import Ends
from tests.faults.seen import ATTEMPTS, Bad
from tests.support.bad_engines import ALWAYS, STREAMED, WHOLE, Fault
from tests.support.upstream import closes

DIED = Ends(502, "engine_died", ATTEMPTS, elsewhere=True)
FAILED = Ends(502, "engine_error", ATTEMPTS, elsewhere=True)
MISPLACED = Ends(502, "engine_error", elsewhere=True)
HOPELESS = Ends(502, "engine_error")
SILENT = Ends(504, "first_byte_timeout", ATTEMPTS, elsewhere=True)
STUCK = Ends(504, "idle_timeout", ATTEMPTS, elsewhere=True)
ENDLESS = Ends(504, "total_timeout")
GOOD = Ends(200, bill="counted")
UNCOUNTED = Ends(200, bill="estimated")
AFTER_ALL = Ends(200, calls=2, bill="counted", elsewhere=True)
BUSY = Ends(503, "engine_busy", ATTEMPTS, elsewhere=True)
CUT = Ends(200, "engine_died", bill="estimated")
PAUSED = Ends(200, "idle_timeout", bill="estimated")
SPOILT = Ends(200, "engine_error", bill="estimated")
TOO_LONG = Ends(200, "total_timeout", bill="estimated")
# Faults of connections, and of more calls than one.
CONNECTIONS: dict[str, tuple[Bad, Ends]] = {
    "connections refused": (Bad(), Ends(503, "engine_unavailable", calls=0, elsewhere=True)),
    "connections never answered": (Bad(away=True), Ends(504, "connect_timeout", calls=0, elsewhere=True)),
    "429, and then an answer": (Bad(scripts=(ALWAYS["429"],), recovers=True), AFTER_ALL),
    "a kept connection closed as it is asked again": (
        Bad(scripts=(closes,), recovers=True, again=True),
        Ends(200, calls=2, bill="counted"),
    ),
    "every connection closed, the kept one first": (
        Bad(scripts=(closes,), again=True),
        Ends(502, "engine_died", ATTEMPTS),
    ),
}
ALL: dict[str, Ends] = {
    "not HTTP": DIED,
    "a head that never ends": DIED,
    "an answer of no known length": FAILED,
    "a redirect": HOPELESS,
    "another protocol": DIED,
    "interim answers that never end": DIED,
    "an interim answer and then silence": SILENT,
    "a head that drips": SILENT,
    "a head that is too long": DIED,
    "204": HOPELESS,
    "400": Ends(400),
    "401": MISPLACED,
    "403": MISPLACED,
    "404": MISPLACED,
    "408": FAILED,
    "409": HOPELESS,
    "413": Ends(413),
    "422": Ends(422),
    "425": FAILED,
    "429": Ends(429, "engine_busy", ATTEMPTS, elsewhere=True),
    "429 with a time": Ends(429, "engine_busy", elsewhere=True),
    "429 with a date": Ends(429, "engine_busy", ATTEMPTS, elsewhere=True),
    "500": FAILED,
    "501": HOPELESS,
    "502": FAILED,
    "503": BUSY,
    "504": FAILED,
    "529": BUSY,
    "500 that is no JSON": FAILED,
    "an error under 200": FAILED,
    "garbage under 200": FAILED,
    "nothing under 200": FAILED,
    "a web page under 200": FAILED,
    "a list under 200": FAILED,
    "null under 200": FAILED,
    "an object that is no completion": FAILED,
}
WHOLE_ENDS: dict[str, Ends] = {
    "reset before the head": DIED,
    "close before the head": DIED,
    "hang before the head": SILENT,
    "reset in the head": DIED,
    "close in the head": DIED,
    "hang in the head": SILENT,
    "reset after the head": DIED,
    "close after the head": DIED,
    "hang after the head": STUCK,
    "reset in the body": DIED,
    "close in the body": DIED,
    "hang in the body": STUCK,
    "a length too long": DIED,
    "a length too short": FAILED,
    "a length that is none": DIED,
    "two lengths": DIED,
    "a length and chunks": DIED,
    "an answer of HTTP/1.0": GOOD,
    "an answer in gzip": FAILED,
    "an answer that calls itself a web page": GOOD,
    "an answer behind an interim one": GOOD,
    "a usage that cannot be": UNCOUNTED,
    "a usage below zero": UNCOUNTED,
    "no usage": UNCOUNTED,
    "a byte order mark": FAILED,
    "no choices": UNCOUNTED,
    "two documents": FAILED,
    "a body that drips": ENDLESS,
    "a second answer nobody asked for": GOOD,
    "a huge body": UNCOUNTED,
    "a byte at a time": GOOD,
}
STREAMED_ENDS: dict[str, Ends] = {
    "reset before the head": DIED,
    "close before the head": DIED,
    "hang before the head": SILENT,
    "reset in the head": DIED,
    "close in the head": DIED,
    "hang in the head": SILENT,
    "reset after the head": DIED,
    "close after the head": DIED,
    "hang after the head": STUCK,
    "reset in an event": CUT,
    "close in an event": CUT,
    "hang in an event": PAUSED,
    "reset in a chunk": CUT,
    "close in a chunk": CUT,
    "hang in a chunk": PAUSED,
    "reset between events": CUT,
    "close between events": CUT,
    "hang between events": PAUSED,
    "reset after the content": CUT,
    "close after the content": CUT,
    "hang after the content": PAUSED,
    "reset after the finish": Ends(200, "engine_died", bill="counted"),
    "close after the finish": Ends(200, "engine_died", bill="counted"),
    "hang after the finish": Ends(200, "idle_timeout", bill="counted"),
    "reset before the last chunk": GOOD,
    "close before the last chunk": GOOD,
    "hang before the last chunk": GOOD,
    "an answer in one piece": FAILED,
    "an error as the first event": FAILED,
    "an error as the first event, named": FAILED,
    "an error as a later event": SPOILT,
    "an error as a later event, and an end": SPOILT,
    "an event that is no JSON": SPOILT,
    "a first event that is no JSON": FAILED,
    "two documents in an event": SPOILT,
    "two documents in a line": SPOILT,
    "a document over two lines": GOOD,
    "a stream that is none": DIED,
    "a stream in gzip": DIED,
    "a stream that calls itself Text/Event-Stream": GOOD,
    "a stream of HTTP/1.0": GOOD,
    "a stream with a length": GOOD,
    "an end without an end": CUT,
    "a finish, but no [DONE]": Ends(200, "engine_died", bill="counted"),
    "a [DONE] without a finish": GOOD,
    "a [DONE] without a blank line": GOOD,
    "events behind [DONE]": GOOD,
    "nothing but [DONE]": DIED,
    "a usage that cannot be": UNCOUNTED,
    "a usage below zero": UNCOUNTED,
    "a byte order mark": GOOD,
    "lines that end in CRLF": GOOD,
    "lines that end in CR": GOOD,
    "line ends of all kinds": GOOD,
    "fields before the data": GOOD,
    "fields behind the data": GOOD,
    "no blank behind the colon": GOOD,
    "comments only": DIED,
    "comments among the events": GOOD,
    "a character in two pieces": GOOD,
    "a stream of nothing": DIED,
    "events that drip": TOO_LONG,
    "comments that drip, and nothing before": ENDLESS,
    "comments that never end, and nothing before": ENDLESS,
    "a stream that never ends": TOO_LONG,
    "comments that never end": TOO_LONG,
    "an event that never ends": FAILED,
    "a chunk with a size that is none": DIED,
    "a chunk larger than it says": DIED,
    "a huge event": GOOD,
    "a byte at a time": GOOD,
}


class Row(NamedTuple):
    """A fault, and what it comes to."""

    name: str
    bad: Bad
    ends: Ends

    @property
    def hangs(self) -> bool:
        """Whether the engine falls silent."""
        then = {script.then for script in self.bad.scripts if isinstance(script, Fault)}
        return self.ends.code in SILENCES or "hang" in then

    @property
    def steady(self) -> bool:
        """Whether it is the same for every call."""
        return not (self.bad.again or self.bad.recovers or self.bad.away)


Kind = Literal["any", "whole", "streamed"]
SILENCES = frozenset({"first_byte_timeout", "idle_timeout"})


def rows(kind: Kind) -> Iterator[Row]:
    """The faults of answers in one piece, of streams, or of both."""
    if kind == "any":
        yield from (Row(name, bad, ends) for name, (bad, ends) in CONNECTIONS.items())
    faults = {"any": ALWAYS, "whole": WHOLE, "streamed": STREAMED}[kind]
    for name, ends in {"any": ALL, "whole": WHOLE_ENDS, "streamed": STREAMED_ENDS}[kind].items():
        yield Row(name, Bad(scripts=(faults[name],)), ends)
