"""Answers as OpenAI's wire has them, whole or as server-sent events; made by joining bytes."""

from collections.abc import Iterator

import msgspec

from events.words import Refusal
from services.front.call import Reply
from services.rehearsal.prose import Choice
from services.rehearsal.request import Draft, Served
from services.wire.errors import error_body, error_fields
from services.wire.fields import JSON, Fields

ENGINE: Fields = b"x-penstock-engine: rehearsal\r\n"
WHOLE: Fields = ENGINE + JSON
EVENTS: Fields = ENGINE + b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
DONE = b"data: [DONE]\n\n"


class Writer:
    """Renders the answer to one request; `id` and `created` name it, `wants_usage` is about streams.

    A stream is `tokens(0, a) + tokens(a, b) + ... + ending()`, cut wherever one likes.
    """

    __slots__ = ("_around", "_draft", "_name", "_usage_mark")

    def __init__(
        self, draft: Draft, served: Served, *, id: str, created: int, wants_usage: bool = False
    ) -> None:
        self._draft = draft
        self._name = b'"id":"%b","created":%d,"model":%b,"system_fingerprint":"rehearsal"' % (
            id.encode(),
            created,
            msgspec.json.encode(served.model),
        )
        self._usage_mark = (
            b',"usage":null' if wants_usage else b""
        )  # in every event but the one that tells it
        self._around: dict[int, tuple[bytes, bytes]] = {}

    # --- whole

    def whole(self) -> bytes:
        """The `chat.completion` object."""
        choices = b",".join(_choice(index, choice) for index, choice in enumerate(self._draft.choices))
        return b'{%b,"object":"chat.completion","choices":[%b],"usage":%b}' % (
            self._name,
            choices,
            usage(self._draft),
        )

    # --- as events

    def tokens(self, start: int, end: int) -> bytes:
        """An event for each token from `start` to `end`, counted over all choices.

        A choice's first token is preceded by its role, and by the finish of the choice before.
        """
        return b"".join(self._pieces(start, end))

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        offset = 0
        for index, choice in enumerate(self._draft.choices):
            first, last = max(start - offset, 0), min(end - offset, len(choice.tokens))
            if first < last:
                if first == 0:
                    yield self._opening(index)
                before, after = self._frame(index)
                yield before + (after + before).join(choice.tokens[first:last]) + after
            offset += len(choice.tokens)

    def _opening(self, index: int) -> bytes:
        role = self._event(index, b'{"role":"assistant","content":""}')
        return self._finish(index - 1) + role if index else role

    def _frame(self, index: int) -> tuple[bytes, bytes]:
        """What stands before and after a token of a choice."""
        if index not in self._around:
            before, _, after = self._event(index, b'{"content":"\0"}').partition(b"\0")
            self._around[index] = before, after
        return self._around[index]

    def ending(self) -> bytes:
        """What follows the last token: its choice's finish, the usage if it was asked for, and the end."""
        told = self._chunk(b"", b',"usage":%b' % usage(self._draft)) if self._usage_mark else b""
        return self._finish(len(self._draft.choices) - 1) + told + DONE

    def _finish(self, index: int) -> bytes:
        return self._event(index, b"{}", b'"%b"' % self._draft.choices[index].finish.encode())

    def _event(self, index: int, delta: bytes, finish: bytes = b"null") -> bytes:
        choice = b'{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}' % (index, delta, finish)
        return self._chunk(choice, self._usage_mark)

    def _chunk(self, choices: bytes, rest: bytes) -> bytes:
        return b'data: {%b,"object":"chat.completion.chunk","choices":[%b]%b}\n\n' % (
            self._name,
            choices,
            rest,
        )


def _choice(index: int, choice: Choice) -> bytes:
    return (
        b'{"index":%d,"message":{"role":"assistant","content":"%b","refusal":null},'
        b'"logprobs":null,"finish_reason":"%b"}' % (index, b"".join(choice.tokens), choice.finish.encode())
    )


def usage(draft: Draft) -> bytes:
    """OpenAI's usage object."""
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d}}'
        % (draft.prompt_tokens, draft.total, draft.prompt_tokens + draft.total, draft.cached_tokens)
    )


def models(served: Served) -> bytes:
    """The answer of `/v1/models`."""
    model = {
        "id": served.model,
        "object": "model",
        "created": served.created,
        "owned_by": "penstock-rehearsal",
        "max_model_len": served.context,
    }
    return msgspec.json.encode({"object": "list", "data": [model]})


def refuse(reply: Reply, refusal: Refusal) -> None:
    """Answers with OpenAI's error object."""
    reply.send(refusal.status, ENGINE + error_fields(refusal), error_body(refusal.problem))
