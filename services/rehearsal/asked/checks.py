"""What all requests have in common: the model they name, how they are refused, what they cost."""

from typing import TypeVar

import msgspec

from events.words import Invalid, Problem, Record, Refusal
from functions.request.mistakes import UNREADABLE, problem_of, quoted

MOST_CHOICES = 16

T = TypeVar("T")


class Served(Record):
    """The one model an engine has; `created` in Unix seconds, `seed` decides what it says."""

    model: str
    context: int
    created: int = 0
    seed: int = 0


class UnfitError(Invalid):
    """A field has a value that cannot be honoured; `param` is its place in the body."""

    def __init__(self, message: str, param: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code

    def refusal(self) -> Refusal:
        """What the caller is told."""
        return Refusal(status=400, problem=Problem(message=str(self), param=self.param, code=self.code))


class StreamOptions(msgspec.Struct, frozen=True, gc=False):
    """OpenAI's `stream_options`."""

    include_usage: bool | None = None


def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T | Refusal:
    """The request in a body, or why there is none."""
    try:
        request = decoder.decode(body)
        body.decode()
    except UNREADABLE as error:
        return Refusal(status=400, problem=problem_of(error))
    return request


def unknown_model(name: str, served: Served) -> Refusal | None:
    """The refusal of a model that is not the one."""
    if name == served.model:
        return None
    message = f"The model {quoted(name)} does not exist here; this engine has {served.model!r}."
    return Refusal(status=404, problem=Problem(message=message, code="model_not_found", param="model"))


def check_room(tokens: int, served: Served, param: str) -> None:
    """Raises `UnfitError` where a prompt leaves no room for an answer."""
    if tokens >= served.context:
        raise UnfitError(
            f"The prompt has {tokens} tokens and the context of {served.model} {served.context}, "
            "of which the answer needs at least one.",
            param,
            "context_length_exceeded",
        )
