"""The example of docs/guard.md does what it says."""

import json
import re
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.guarding.guard import Allowed, Blocked, Prompt, Text
from services.guarding.texts import sift
from tests.architecture.source import ROOT
from tests.support.wire import chat, completion


def example() -> dict[str, Any]:
    page = (ROOT / "docs" / "guard.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def prompt(text: str) -> Prompt:
    return Prompt(tenant="acme", model="gemma", endpoint="/v1/chat/completions", body=chat(text))


def test_it_blocks_prompts_and_masks_answers() -> None:
    guard = example()["NoCardNumbers"]()

    assert isinstance(guard.judge(prompt("it is 4111 1111")), Blocked)
    said = guard.judge(prompt("Hi."))
    assert isinstance(said, Allowed)
    assert said.watch is not None
    answer, cut = sift(completion("4111 1111."), said.watch)
    assert ("[card].", False) == (json.loads(answer)["choices"][0]["message"]["content"], cut)
    assert said.watch(Text(choice=0, name="content")) is not None


@given(st.lists(st.integers(0, 24)))
def test_it_masks_numbers_in_any_pieces(cuts: list[int]) -> None:
    text, watch = "it is 4111 1111, is it? ", example()["Masking"]()
    bounds = [0, *sorted(cuts), len(text)]
    pieces = [text[at:to] for at, to in pairwise(bounds)]

    assert "it is [card], is it? " == "".join(map(watch.feed, pieces)) + watch.finish()
