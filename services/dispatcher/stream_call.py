"""One call to an engine that streams its answer, handed on as it comes."""

from collections.abc import Callable

from services.dispatcher.engine_call import MAX_ANSWER, EngineAnswer, EngineCall
from services.pool.flight import Failure, Headers, value_of
from services.pool.stream import EventStream


class StreamCall(EngineCall):
    """The answer has no body: what the engine says goes to `told`, in whole events. An error has one."""

    def __init__(self, told: Callable[[bytes], None]) -> None:
        super().__init__()
        self._told = told
        self.stream: EventStream | None = None

    def pause(self) -> None:
        """Stops reading: what was told is not worked off yet."""
        if self._flight is not None:
            self._flight.pause()

    def resume(self) -> None:
        """Reads on."""
        if self._flight is not None and not self._done.done():
            self._flight.resume()

    def give_up(self, failure: Failure) -> None:
        """Ends it."""
        self._settle(failure)

    def end(self) -> None:
        """Hangs up: what was told is the whole answer."""
        self._settle(EngineAnswer(self._status, self._headers, b""))

    def responded(self, status: int, headers: Headers) -> None:
        """See `Receiver`."""
        super().responded(status, headers)
        media = value_of(headers, b"content-type") or b""
        if status == 200 and media.lower().startswith(b"text/event-stream"):
            self.stream = EventStream(wants_usage=True)

    def received(self, data: bytes) -> None:
        """See `Receiver`."""
        if self.stream is None:
            super().received(data)
        elif not self._done.done():
            self._size += len(data)
            self._take(self.stream, data)

    def _take(self, stream: EventStream, data: bytes) -> None:
        if self._size > MAX_ANSWER:
            self.give_up(Failure(kind="large", message=f"its answer has more than {MAX_ANSWER} bytes"))
            return
        try:
            events = stream.feed(data)
        except ValueError as error:
            self.give_up(Failure(kind="protocol", message=f"its stream is broken: {error}"))
            return
        if events:
            self._told(events)
        if stream.failed:
            self.give_up(Failure(kind="protocol", message="it told an error in its stream"))

    def completed(self) -> None:
        """See `Receiver`."""
        stream = self.stream
        if stream is None and self._status == 200:
            self.give_up(Failure(kind="protocol", message="it answered without a stream"))
        elif stream is None:
            super().completed()
        elif not self._done.done():
            if rest := stream.end():
                self._told(rest)
            self._end(stream, Failure(kind="reset", message="its stream ended unfinished"))

    def failed(self, failure: Failure) -> None:
        """See `Receiver`."""
        if self.stream is None:
            super().failed(failure)
        else:
            self._end(self.stream, failure)

    def _end(self, stream: EventStream, failure: Failure) -> None:
        """Where all was said, how the engine hangs up does not matter."""
        whole = stream.done and not stream.failed
        self._settle(EngineAnswer(self._status, self._headers, b"") if whole else failure)
