"""A response in the background outlives its platform: killed half way, it ends in one answer all the same."""

import signal
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.support.command import Up, up

pytestmark = pytest.mark.slow

TOKENS = 2_000  # ten seconds of the rehearsal engine
PATIENCE_S = 60.0


def client(platform: Up) -> OpenAI:
    return OpenAI(
        base_url=f"http://127.0.0.1:{platform.port}/v1",
        api_key=platform.key,
        max_retries=0,
        timeout=PATIENCE_S,
    )


def followed(stream: Any) -> list[dict[str, Any]]:
    return [event.model_dump() for event in stream]


def text(events: list[dict[str, Any]]) -> str:
    return "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta")


def until_killed(platform: Up, deltas: int) -> list[dict[str, Any]]:
    """What a reader gets of a response whose platform is killed after some of it was told."""
    seen: list[dict[str, Any]] = []
    with client(platform) as made:
        model = made.models.list().data[0].id
        asked: dict[str, Any] = {"model": model, "input": "Go on.", "max_output_tokens": TOKENS}
        asked["extra_body"] = {"ignore_eos": True}
        with made.responses.create(**asked, background=True, stream=True) as stream:
            for event in stream:
                seen.append(event.model_dump())
                if sum(one["type"] == "response.output_text.delta" for one in seen) == deltas:
                    break
            platform.process.child.send_signal(signal.SIGKILL)
    platform.process.end()
    return seen


def test_who_had_a_part_of_it_is_told_and_who_comes_later_gets_one_answer(tmp_path: Path) -> None:
    with up(tmp_path) as killed:
        seen = until_killed(killed, deltas=20)
    with up(tmp_path) as again, client(again) as made:
        name, last = seen[0]["response"]["id"], seen[-1]["sequence_number"]
        rest = followed(made.responses.retrieve(name, stream=True, starting_after=last))
        whole = followed(made.responses.retrieve(name, stream=True))
        answer = made.responses.retrieve(name)

    assert ("error", "answer_begun_again") == (rest[-1]["type"], rest[-1]["code"])
    assert {*range(last + 1)} == {one["sequence_number"] for one in seen}
    assert "response.incomplete" == whole[-1]["type"]
    assert answer.output_text == text(whole)
    assert answer.usage is not None
    assert TOKENS == answer.usage.output_tokens
    assert not {one["sequence_number"] for one in whole[3:]} & {*range(3, last + 1)}
