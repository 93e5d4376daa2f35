"""Logarithms of probabilities, as chat completions and completions have them."""

from collections.abc import Iterable, Sequence

from services.rehearsal.said.draft import Token, text_of
from services.rehearsal.said.odds import likeliest, logprob


def of_chat(tokens: Iterable[Token], top: int) -> bytes:
    """The `logprobs` of a choice, or of one event of it, with the `top` likeliest tokens at each place."""
    told = []
    for token in tokens:
        others = b",".join(b"{%b}" % _entry(other, odds) for other, odds in likeliest(token, top))
        told.append(b'{%b,"top_logprobs":[%b]}' % (_entry(token, logprob(token)), others))
    return b'{"content":[%b],"refusal":null}' % b",".join(told)


def _entry(token: Token, odds: float) -> bytes:
    spelled = b",".join(b"%d" % byte for byte in text_of([token]).encode())
    return b'"token":"%b","logprob":%b,"bytes":[%b]' % (token, _number(odds), spelled)


def of_text(tokens: Sequence[Token], top: int, *, offset: int = 0, first: bool = False) -> bytes:
    """The `logprobs` of a completion whose tokens begin at character `offset`.

    Of the `first` token of a prompt nobody can say how likely it was.
    """
    offsets = []
    for token in tokens:
        offsets.append(b"%d" % offset)
        offset += len(text_of([token]))
    odds = [_number(logprob(token)) for token in tokens]
    tops = [_tops(token, top) for token in tokens]
    if first and tokens:
        odds[0] = tops[0] = b"null"
    return b'{"tokens":[%b],"token_logprobs":[%b],"top_logprobs":[%b],"text_offset":[%b]}' % (
        b",".join(b'"%b"' % token for token in tokens),
        b",".join(odds),
        b",".join(tops),
        b",".join(offsets),
    )


def _tops(token: Token, top: int) -> bytes:
    told = dict(likeliest(token, top))  # OpenAI's object names each token once
    return b"{%b}" % b",".join(b'"%b":%b' % (other, _number(odds)) for other, odds in told.items())


def _number(odds: float) -> bytes:
    return b"%r" % odds
