"""The texts of answers: found in what engines send, and written back where a guard changed them."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from services.guarding.guard import Cut, Text, Watch, Watching

Path = tuple[str | int, ...]  # from a choice to one of its texts
Choice = dict[str, Any]

FILTERED = "content_filter"
TOLD_IN = ("delta", "text", "message")
TEXT: Path = ("text",)
NO_TEXTS = frozenset({"id", "name", "role", "type"})
KEPT = frozenset({"delta", "finish_reason", "index", "message", "text"})
NO_WORDS = frozenset({"index", "role", "type"})

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Said(msgspec.Struct):
    choices: list[Choice] | None = None


_said = msgspec.json.Decoder(_Said)


def choices_of(data: bytes) -> list[Choice]:
    """The choices told. Raises `ValueError` or `RecursionError` where that cannot be read."""
    return _said.decode(data).choices or []


def index_of(choice: Choice) -> int:
    """Its index. Raises `ValueError`."""
    index = choice.get("index", 0)
    if not isinstance(index, int):
        raise ValueError("a choice has no index")  # noqa: TRY004  (the data is wrong, not our call)
    return index


def texts_of(choice: Choice) -> Iterator[tuple[Any, str | int, Path]]:
    """Every text that is not empty, as the object it is in, its key there, and its path.

    A text is each string in a delta or message, however deep and whatever it is called, but for who speaks
    and the ids, types and names of calls. Raises `ValueError` for what has another shape.
    """
    for name in TOLD_IN:
        found = choice.get(name)
        if found is None:
            continue
        if isinstance(found, str) and name == "text":
            if found:
                yield choice, name, TEXT
        elif isinstance(found, dict) and name != "text":
            for key, value in found.items():
                if isinstance(value, str):  # nearly always
                    if value and key not in NO_TEXTS:
                        yield found, key, (name, key)
                elif value is not None:
                    yield from _within({key: value}, (name,))
        else:
            raise ValueError(f"a choice's {name} has another shape")


def _within(holder: Any, path: Path) -> Iterator[tuple[Any, str | int, Path]]:
    for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
        if isinstance(value, str):
            if value and key not in NO_TEXTS:
                yield holder, key, (*path, key)
        elif isinstance(value, dict):
            index = value.get("index", key) if isinstance(key, int) else key
            yield from _within(value, (*path, index if isinstance(index, int) else key))
        elif isinstance(value, list):
            yield from _within(value, (*path, key))


def text_at(choice: int, path: Path) -> Text:
    """As a guard knows it."""
    name = path if path == TEXT else path[1:]
    return Text(choice=choice, name=".".join(map(str, name)))


def without_copies(choice: Choice) -> None:
    """Takes out what tells the same text again: tokens with their probabilities, or their ids."""
    for name in [name for name in choice if name not in KEPT]:
        if name == "logprobs":
            choice[name] = None
        else:
            del choice[name]


def is_empty(value: object) -> bool:
    """Whether a choice, or a part of one, tells nothing but who speaks."""
    if isinstance(value, dict):
        return all(key in NO_WORDS or is_empty(inner) for key, inner in value.items())
    return all(map(is_empty, value)) if isinstance(value, list) else value in (None, "")


def with_choices(data: bytes, choices: Sequence[Choice]) -> bytes:
    """The same object with other choices."""
    fields = _fields.decode(data)
    fields["choices"] = msgspec.Raw(msgspec.json.encode(choices))
    return msgspec.json.encode(fields)


def chunk_like(data: bytes, choice: Choice) -> bytes:
    """An event of the same answer that tells this choice, and no usage."""
    fields = _fields.decode(data)
    fields.pop("usage", None)
    fields["choices"] = msgspec.Raw(msgspec.json.encode([choice]))
    return b"data: %b\n\n" % msgspec.json.encode(fields)


def told_at(index: int, path: Path, text: str) -> Choice:
    """A choice of a stream that tells a piece of one text."""
    inner: Any = text
    for step in reversed(path):
        inner = {step: inner} if isinstance(step, str) else [_numbered(step, inner)]
    return {"index": index, **inner, "finish_reason": None}


def end_of(index: int, path: Path) -> Choice:
    """A choice of a stream that was cut, as its last event tells it; `path` is one of its texts."""
    nothing: Choice = {"text": ""} if path == TEXT else {"delta": {}}
    return {"index": index, **nothing, "finish_reason": FILTERED}


def _numbered(at: int, inner: object) -> object:
    return {"index": at, **inner} if isinstance(inner, dict) else inner


def sift(answer: bytes, watching: Watching) -> tuple[bytes, bool]:
    """What may be read of an answer in one piece: the same bytes where that is all; and whether a choice was
    cut. Raises `ValueError` or `RecursionError` where it cannot be read, and what the guard raises.
    """
    choices = choices_of(answer)
    sifted = [_sift(choice, watching) for choice in choices]
    if not any(changed for changed, _ in sifted):
        return answer, False
    return with_choices(answer, choices), any(cut for _, cut in sifted)


def _sift(choice: Choice, watching: Watching) -> tuple[bool, bool]:
    """Whether a choice was changed, and whether it was cut."""
    changed = cut = False
    for holder, key, path in texts_of(choice):
        given = holder[key]
        released, ends = ("", True) if cut else _whole(watching(text_at(index_of(choice), path)), given)
        cut = cut or ends
        if released != given:
            holder[key], changed = released, True
    if cut:
        choice["finish_reason"] = FILTERED
        for name in ("tool_calls", "function_call"):  # what is called with half an argument
            choice.get("message", {}).pop(name, None)
    if changed or cut:
        without_copies(choice)
    return changed or cut, cut


def _whole(watch: Watch | None, text: str) -> tuple[str, bool]:
    if watch is None:
        return text, False
    first = checked(watch.feed(text))
    if isinstance(first, Cut):
        return first.released, True
    rest = checked(watch.finish())
    return (first + rest.released, True) if isinstance(rest, Cut) else (first + rest, False)


def checked(said: object) -> str | Cut:
    """What a watch said. Raises `TypeError` where that is no answer."""
    if isinstance(said, str | Cut):
        return said
    raise TypeError(f"a watch releases a text or a Cut, not {type(said).__name__}")
