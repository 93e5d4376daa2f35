"""A streamed answer on its way through a guard: whole events in, what may be read of them out."""

from typing import Literal

from services.guarding.guard import Cut, Watch, Watching
from services.guarding.texts import (
    Choice,
    Path,
    checked,
    choices_of,
    chunk_like,
    end_of,
    index_of,
    is_empty,
    text_at,
    texts_of,
    told_at,
    with_choices,
    without_copies,
)
from services.pool.sse import DONE_DATA, DONE_EVENT, data_of, says_something, split

Said = Literal["", "the same", "otherwise"]  # what is told of a choice that a guard has read


class Heard:
    """A text as far as it came. `held`: about how many bytes of it are held back."""

    __slots__ = ("_watch", "held")

    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch
        self.held = 0

    def feed(self, text: str) -> str | Cut:
        """What may be read now."""
        if self._watch is None:
            return text
        released = checked(self._watch.feed(text))
        if isinstance(released, str) and released != text:
            self.held = max(0, self.held + _size(text) - _size(released))
        return released

    def finish(self) -> str | Cut:
        """What may be read at its end."""
        self.held = 0
        return "" if self._watch is None else checked(self._watch.finish())


class Sieve:
    """Takes whole events of one attempt in, gives events out. An event of which nothing was changed comes out
    as it went in.

    Nothing comes out before something of the answer may be read: until then another attempt may take this
    one's place. A choice may be told to be over and go on all the same, as Gemini's are in every event
    (https://github.com/BerriAI/litellm/issues/2195), so the events that end one wait, and its texts are
    finished at the end of the stream.

    `held`: about how many bytes are held back. `over`: nothing comes out any more. `cut`: the guard ended it.
    Raises what the guard raises, and `ValueError` or `RecursionError` where an event cannot be read; nothing
    may be read from then on.
    """

    __slots__ = (
        "_begun", "_choices", "_closed", "_ended", "_ending", "_last", "_opening", "_watching",
        "cut", "held", "over",
    )  # fmt: skip

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._choices: dict[int, dict[Path, Heard]] = {}
        self._begun = False
        self._opening: list[bytes] = []  # events before anything may be read
        self._ending: list[tuple[bytes, bool]] = []  # events that may be the last; whether one tells a choice
        self._ended: set[int] = set()  # the choices that end in them
        self._closed: set[int] = set()  # those whose end went out
        self._last = b""  # the last data that told a choice: others are made like it
        self.held = 0
        self.cut = False
        self.over = False

    def feed(self, events: bytes) -> bytes:
        """What may be read now."""
        out: list[bytes] = []
        for event in (events,) if _is_one(events) else split(events):
            if self.over:
                break
            self._take(event, out)
        return b"".join(out)

    def rest(self) -> bytes:
        """What may be read where the stream broke off."""
        out: list[bytes] = []
        if not self.over:
            self.over = True
            self._finish(out)
        return b"".join(out)

    def _take(self, event: bytes, out: list[bytes]) -> None:
        data = data_of(event)
        if data == DONE_DATA:
            if not self._finish(out):
                self._let_end(out)
                self._emit(event, out)
                self.over = True
            return
        choices = choices_of(data) if data else []
        if choices:
            self._last = data
            self._sift(event, choices, out)
        elif self._ending:
            self._wait_with(event, tells_choice=False)
        else:
            self._emit(event, out, says=self._begun or says_something(data))

    # --- events that tell choices

    def _sift(self, event: bytes, choices: list[Choice], out: list[bytes]) -> None:
        new = changed = resumed = False
        ended: set[int] = set()
        for choice in choices:
            index = index_of(choice)
            texts = self._choices.get(index)
            if texts is None:
                new, texts = True, self._choices.setdefault(index, {})
            said = self._listen(index, texts, choice, out)
            if self.over:
                return
            if said:
                resumed = resumed or index in self._ended
                self._closed.discard(index)
            if said == "otherwise":
                changed = True
                without_copies(choice)
            if choice.get("finish_reason") is not None:
                ended.add(index)
        if resumed:  # it was not the end
            self._let_end(out)
        says = bool(ended) or self._begun
        if changed:
            says = not is_empty(choices)
            if not (says or new):
                return  # all of it is held back
            event = _rewritten(event, with_choices(self._last, choices))
        if ended:
            self._ended |= ended
            self._wait_with(event, tells_choice=True)
        else:
            self._emit(event, out, says=says or (not changed and says_something(self._last)))

    def _listen(self, index: int, texts: dict[Path, Heard], choice: Choice, out: list[bytes]) -> Said:
        """Lets the guard read a choice."""
        said: Said = ""
        for holder, key, path in texts_of(choice):
            heard = texts.get(path) or self._begin(texts, index, path)
            given, before = holder[key], heard.held
            released = heard.feed(given)
            if isinstance(released, Cut):
                self._cut(index, path, released.released, out)
                return said
            if released != given:
                holder[key], said = released, "otherwise"
                self.held += heard.held - before
            else:
                said = said or "the same"
        return said

    def _begin(self, texts: dict[Path, Heard], index: int, path: Path) -> Heard:
        heard = texts[path] = Heard(self._watching(text_at(index, path)))
        return heard

    def _emit(self, event: bytes, out: list[bytes], *, says: bool = True) -> None:
        if self._begun:
            out.append(event)
        elif says:
            self._begun = True
            self.held -= sum(map(len, self._opening))
            out += self._opening
            out.append(event)
            self._opening = []
        else:
            self._opening.append(event)
            self.held += len(event)

    # --- the end

    def _wait_with(self, event: bytes, *, tells_choice: bool) -> None:
        self._ending.append((event, tells_choice))
        self.held += len(event)

    def _let_end(self, out: list[bytes]) -> None:
        """Lets out the events that waited."""
        for event, _ in self._ending:
            self.held -= len(event)
            self._emit(event, out)
        self._closed |= self._ended
        self._ending, self._ended = [], set()

    def _finish(self, out: list[bytes]) -> bool:
        """Tells what is left of every text; whether the guard cut it short."""
        for index, texts in self._choices.items():
            for path, heard in texts.items():
                self.held -= heard.held
                rest = heard.finish()
                if isinstance(rest, Cut):
                    self._cut(index, path, rest.released, out)
                    return True
                if rest:
                    self._emit(chunk_like(self._last, told_at(index, path, rest)), out)
        return False

    def _cut(self, index: int, path: Path, released: str, out: list[bytes]) -> None:
        """The last that may be read, and the end of every choice."""
        self.cut = self.over = True
        if released:
            self._emit(chunk_like(self._last, told_at(index, path, released)), out)
        for choice in self._choices.keys() - self._closed:
            self._emit(chunk_like(self._last, end_of(choice, path)), out)
        for event, tells_choice in self._ending:
            if not tells_choice:
                self._emit(event, out)
        self._emit(DONE_EVENT, out)
        self.held, self._ending, self._choices = 0, [], {}


def _is_one(events: bytes) -> bool:
    """Whether it is surely one event, as it is nearly always."""
    return events.find(b"\n\n") == len(events) - 2 and b"\r" not in events


def _rewritten(event: bytes, data: bytes) -> bytes:
    """The event with other data; a name or an id it has stays."""
    before = b"".join(line + b"\n" for line in event.splitlines() if line and not line.startswith(b"data:"))
    return b"%bdata: %b\n\n" % (before, data)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
