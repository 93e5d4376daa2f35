"""Completions of plain text, whole or as server-sent events."""

from services.rehearsal.asked.checks import Served
from services.rehearsal.asked.completions import CompletionRequest, echoed
from services.rehearsal.said.draft import Draft, Token, text_of
from services.rehearsal.wire.heads import DONE, name, usage
from services.rehearsal.wire.logprobs import of_text
from services.rehearsal.wire.stream import Turns


class Completion:
    """Renders the answer to one request; see `Writer`. A prompt that is repeated comes in one event."""

    def __init__(
        self, request: CompletionRequest, draft: Draft, served: Served, *, id: str, created: int
    ) -> None:
        self._draft = draft
        self._choices = draft.choices
        self._echoed = echoed(request)
        self._top = request.logprobs
        self._name = name(served, id, created) + b',"object":"text_completion"'
        self._mark = b',"usage":null' if request.wants_usage else b""
        self._offsets = [len(text_of(prompt)) for prompt in self._echoed]
        self._turns = Turns(draft.choices, self)

    def whole(self) -> bytes:
        """See `Writer`."""
        told = []
        for index, choice in enumerate(self._choices):
            tokens = self._echoed[index] + choice.tokens
            odds = self._odds(tokens, 0, first=bool(self._echoed[index]))
            told.append(_choice(index, tokens, odds, b'"%b"' % choice.finish.encode()))
        return b'{%b,"choices":[%b],"usage":%b}' % (self._name, b",".join(told), usage(self._draft))

    def tokens(self, start: int, end: int) -> bytes:
        """See `Writer`."""
        return self._turns.tokens(end - start)

    def ending(self) -> bytes:
        """See `Writer`."""
        told = b""
        if self._mark:
            told = b'data: {%b,"choices":[],"usage":%b}\n\n' % (self._name, usage(self._draft))
        return self._turns.rest() + told + DONE

    # --- how `Turns` sees it

    def opening(self, index: int) -> bytes:
        """See `Face`."""
        prompt = self._echoed[index]
        return self._event(_choice(index, prompt, self._odds(prompt, 0, first=True))) if prompt else b""

    def token(self, index: int, at: int) -> bytes:
        """See `Face`."""
        token = self._choices[index].tokens[at : at + 1]
        odds = self._odds(token, self._offsets[index])
        self._offsets[index] += len(text_of(token))
        return self._event(_choice(index, token, odds))

    def finish(self, index: int) -> bytes:
        """See `Face`."""
        return self._event(_choice(index, (), b"null", b'"%b"' % self._choices[index].finish.encode()))

    def _event(self, choice: bytes) -> bytes:
        return b'data: {%b,"choices":[%b]%b}\n\n' % (self._name, choice, self._mark)

    def _odds(self, tokens: tuple[Token, ...], offset: int, *, first: bool = False) -> bytes:
        return b"null" if self._top is None else of_text(tokens, self._top, offset=offset, first=first)


def _choice(index: int, tokens: tuple[Token, ...], logprobs: bytes, finish: bytes = b"null") -> bytes:
    return b'{"index":%d,"text":"%b","logprobs":%b,"finish_reason":%b}' % (
        index,
        b"".join(tokens),
        logprobs,
        finish,
    )
