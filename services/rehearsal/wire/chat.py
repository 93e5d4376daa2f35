"""Chat completions, whole or as server-sent events; made by joining bytes."""

import msgspec

from services.rehearsal.asked.chat import ChatRequest
from services.rehearsal.asked.checks import Served
from services.rehearsal.said.draft import Choice, Draft, Token
from services.rehearsal.wire.heads import DONE, name, usage
from services.rehearsal.wire.logprobs import of_chat
from services.rehearsal.wire.stream import Turns, Writer

ROLE = b'{"role":"assistant","content":""}'
CALLER = b'{"role":"assistant","content":null}'


def writer(request: ChatRequest, draft: Draft, served: Served, *, id: str, created: int) -> Writer:
    """The writer of an answer to this request."""
    named = name(served, id, created)
    if request.service_tier is not None:
        named += b',"service_tier":"default"'
    if len(draft.choices) == 1 and not draft.choices[0].calls and not request.logprobs:
        return Prose(draft, named, wants_usage=request.wants_usage)
    top = (request.top_logprobs or 0) if request.logprobs else None
    return Chat(draft, named, wants_usage=request.wants_usage, top=top)


class Events:
    """Renders events of one answer. All but the one that tells the usage have the mark, if it is wanted."""

    __slots__ = ("_mark", "_name", "_usage")

    def __init__(self, named: bytes, draft: Draft, wants_usage: bool) -> None:
        self._name = named
        self._mark = b',"usage":null' if wants_usage else b""
        self._usage = b',"usage":%b' % usage(draft) if wants_usage else b""

    def of(self, index: int, delta: bytes, *, finish: bytes = b"null", logprobs: bytes = b"null") -> bytes:
        """The event of a choice."""
        choice = b'{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b}' % (
            index,
            delta,
            logprobs,
            finish,
        )
        return self._chunk(choice, self._mark)

    def finish(self, index: int, choice: Choice) -> bytes:
        """The event that ends it."""
        return self.of(index, b"{}", finish=b'"%b"' % choice.finish.encode())

    def ending(self) -> bytes:
        """The usage, if it is wanted, and the end."""
        return (self._chunk(b"", self._usage) if self._usage else b"") + DONE

    def _chunk(self, choices: bytes, rest: bytes) -> bytes:
        return b'data: {%b,"object":"chat.completion.chunk","choices":[%b]%b}\n\n' % (
            self._name,
            choices,
            rest,
        )


class Prose:
    """One choice of nothing but text, as nearly all are: told fast."""

    __slots__ = ("_around", "_choice", "_draft", "_name", "_wants_usage")

    def __init__(self, draft: Draft, named: bytes, *, wants_usage: bool = False) -> None:
        self._draft = draft
        self._choice = draft.choices[0]
        self._name = named
        self._wants_usage = wants_usage
        self._around: tuple[bytes, bytes] | None = None

    def whole(self) -> bytes:
        """See `Writer`."""
        return _object(self._name, _whole(0, self._choice, b"null"), self._draft)

    def tokens(self, start: int, end: int) -> bytes:
        """See `Writer`."""
        if self._around is None:
            before, _, after = self._events().of(0, b'{"content":"\0"}').partition(b"\0")
            self._around = before, after
        before, after = self._around
        opening = b"" if start else self._events().of(0, ROLE)
        return opening + before + (after + before).join(self._choice.tokens[start:end]) + after

    def ending(self) -> bytes:
        """See `Writer`."""
        events = self._events()
        return events.finish(0, self._choice) + events.ending()

    def _events(self) -> Events:
        return Events(self._name, self._draft, self._wants_usage)


class Chat:
    """Any choices: several, with calls of tools, with logarithms of probabilities (`top` of each token)."""

    def __init__(
        self, draft: Draft, named: bytes, *, wants_usage: bool = False, top: int | None = None
    ) -> None:
        self._draft = draft
        self._choices = draft.choices
        self._name = named
        self._top = top
        self._events = Events(named, draft, wants_usage)
        self._turns = Turns(draft.choices, self)

    def whole(self) -> bytes:
        """See `Writer`."""
        told = [
            _whole(index, choice, self._logprobs(choice, choice.tokens))
            for index, choice in enumerate(self._choices)
        ]
        return _object(self._name, b",".join(told), self._draft)

    def tokens(self, start: int, end: int) -> bytes:
        """See `Writer`."""
        return self._turns.tokens(end - start)

    def ending(self) -> bytes:
        """See `Writer`."""
        return self._turns.rest() + self._events.ending()

    # --- how `Turns` sees it

    def opening(self, index: int) -> bytes:
        """See `Face`."""
        return self._events.of(index, CALLER if self._choices[index].calls else ROLE)

    def token(self, index: int, at: int) -> bytes:
        """See `Face`."""
        choice = self._choices[index]
        token = choice.tokens[at]
        if choice.calls:
            return self._events.of(index, b'{"tool_calls":[%b]}' % _piece(choice, at))
        told = self._logprobs(choice, (token,))
        return self._events.of(index, b'{"content":"%b"}' % token, logprobs=told)

    def finish(self, index: int) -> bytes:
        """See `Face`."""
        return self._events.finish(index, self._choices[index])

    def _logprobs(self, choice: Choice, tokens: tuple[Token, ...]) -> bytes:
        return b"null" if self._top is None or choice.calls else of_chat(tokens, self._top)


def _object(named: bytes, choices: bytes, draft: Draft) -> bytes:
    return b'{%b,"object":"chat.completion","choices":[%b],"usage":%b}' % (named, choices, usage(draft))


def _whole(index: int, choice: Choice, logprobs: bytes) -> bytes:
    before, said, after = b'"', b"".join(choice.tokens), b'"'
    if choice.calls:
        calls = b",".join(_call(choice, number) for number in range(len(choice.calls)))
        before, said, after = b'null,"tool_calls":[', calls, b"]"
    return (
        b'{"index":%d,"message":{"role":"assistant","content":%b%b%b,"refusal":null},'
        b'"logprobs":%b,"finish_reason":"%b"}'
        % (index, before, said, after, logprobs, choice.finish.encode())
    )


def _call(choice: Choice, number: int) -> bytes:
    return b"{%b}" % _head(choice, number, b"".join(choice.arguments(number)))


def _head(choice: Choice, number: int, arguments: bytes) -> bytes:
    call = choice.calls[number]
    return b'"id":%b,"type":"function","function":{"name":%b,"arguments":"%b"}' % (
        msgspec.json.encode(call.id),
        msgspec.json.encode(call.name),
        arguments,
    )


def _piece(choice: Choice, at: int) -> bytes:
    """What a token adds to the calls: the name of the next, or more of the arguments of the last."""
    number = sum(call.at <= at for call in choice.calls) - 1
    if choice.calls[number].at == at:
        return b'{"index":%d,%b}' % (number, _head(choice, number, b""))
    return b'{"index":%d,"function":{"arguments":"%b"}}' % (number, choice.tokens[at])
