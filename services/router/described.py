"""What the document tells of beyond the structs that are read and written: answers of engines, which pass as
they come, and some of our own; and bodies that are queued, whose rest engines judge when it is their turn.
"""

from typing import Literal

from events.words import Record
from functions.request.admission import ChatBody, ChatMessage
from functions.request.prompts import CompletionBody, EmbeddingBody


class QueuedMessage(ChatMessage, frozen=True):
    """One message."""


class QueuedChat(ChatBody, frozen=True):
    """A chat completion that is answered later, and so not streamed."""

    messages: list[QueuedMessage]  # type: ignore[assignment]  # lists vary, but this one is never written


class QueuedCompletion(CompletionBody, frozen=True):
    """A completion that is answered later, and so not streamed."""


class QueuedEmbeddings(EmbeddingBody, frozen=True):
    """Embeddings that are made later."""


class Tokens(Record):
    """What an answer cost."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class CalledFunction(Record):
    """A function that is to be called; `arguments` is JSON."""

    name: str
    arguments: str


class ToolCall(Record):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(Record):
    """What the model said."""

    role: Literal["assistant"]
    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatChoice(Record):
    """One of the answers."""

    index: int
    message: AssistantMessage
    finish_reason: str | None


class ChatCompletion(Record):
    """A chat's answer as the engine gave it; engines may add fields of their own."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Tokens | None = None


class TextChoice(Record):
    """One of the texts."""

    index: int
    text: str
    finish_reason: str | None


class Completion(Record):
    """A text's completion as the engine gave it; engines may add fields of their own."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Tokens | None = None


class Embedding(Record):
    """A text as a vector: numbers, or base64 of 32-bit floats, lowest byte first."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Embeddings(Record):
    """A vector for each input, as the engine gave them."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Tokens


class Model(Record):
    """A model you may name. `max_model_len`: the most tokens a prompt and its answer may have."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | None = None


class Models(Record):
    """All of them."""

    object: Literal["list"]
    data: list[Model]


class Alive(Record):
    """The process lives."""

    status: Literal["ok"]


class Ready(Record):
    """It can serve."""

    status: Literal["ready"]


class NotReady(Record):
    """It cannot serve; `missing` says what is missing, and why."""

    status: Literal["not ready"]
    missing: dict[str, str]


class ErrorFields(Record):
    """What is wrong: for people, and for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(Record):
    """OpenAI's error envelope."""

    error: ErrorFields


class Said(Record):
    """A part of a message."""

    type: Literal["output_text", "refusal"]
    text: str | None = None
    refusal: str | None = None


class OutputItem(Record):
    """What was said, or a function that is to be called; `arguments` is JSON."""

    id: str
    type: Literal["message", "function_call", "reasoning"]
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] | None = None
    content: list[Said] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class ResponseUsage(Record):
    """What an answer cost."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class ResponseError(Record):
    """Why there is no whole answer."""

    code: str
    message: str


class Incomplete(Record):
    """Why it ends early."""

    reason: str


class ResponseObject(Record):
    """A response; it tells again what was asked for."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    model: str
    output: list[OutputItem]
    error: ResponseError | None
    incomplete_details: Incomplete | None
    usage: ResponseUsage | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    temperature: float
    top_p: float


class Deleted(Record):
    """A response that is kept no more."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItem(Record):
    """A message, a function's call or its output; it tells again what was sent, with an id."""

    id: str
    type: str


class InputItems(Record):
    """Some of the items a response was asked with."""

    object: Literal["list"]
    data: list[InputItem]
    first_id: str | None
    last_id: str | None
    has_more: bool
