"""The guard's port: a verdict on the prompt, and a watch over each text of the answer."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from events.words import Record


class Prompt(Record):
    """What is asked, before anybody was. `model` is called as the caller does. `endpoint` is the path that
    names the form of the `body` (JSON, UTF-8, admitted): a response is judged as the chat it is made of.
    """

    tenant: str
    model: str
    endpoint: str
    body: bytes


class Text(Record):
    """A text of an answer: `choice` is its index, `name` where it is told of it: `content`,
    `reasoning_content`, `refusal`, `text`, or `tool_calls.0.function.arguments`, which is JSON.
    """

    choice: int
    name: str


class Cut(Record):
    """The answer ends here. `released`: what may still be read, of what was fed."""

    released: str = ""


class Watch(Protocol):
    """Watches one text, which comes in pieces that may end anywhere: amid a word, never amid a character.

    It is called between other answers' events, so it may take microseconds and may not wait.
    """

    def feed(self, text: str) -> str | Cut:
        """The next piece; what may be read now, of it and of what was held back."""

    def finish(self) -> str | Cut:
        """The text is over; what may be read of what is still held back."""


Watching = Callable[[Text], Watch | None]  # called when a text begins; None: it passes unread


class Allowed(Record):
    """The prompt may be answered. Without `watch` nobody looks at the answer."""

    watch: Watching | None = None


class Blocked(Record):
    """The prompt is not answered; the caller is told the `message`, which must not quote the prompt."""

    message: str = "This prompt is not answered here: it breaks a rule of this platform. Change the prompt."


Verdict = Allowed | Blocked


class Guard(Protocol):
    """Judges what is asked and watches what is answered. What it raises, or a verdict it does not give in
    time, is taken for a no.
    """

    def judge(self, prompt: Prompt) -> Verdict | Awaitable[Verdict]:
        """The verdict on a prompt; at once where it needs no time, which saves a task."""
