"""One command of each kind as a process, quick enough to be tried every time."""

import pytest

from tests.services.cli.conftest import Command

pytestmark = pytest.mark.anyio


async def test_a_command_prints_an_answer_or_a_sentence(command: Command) -> None:
    talked = await command("chat", "What is a penstock?")
    failed = await command("keys", "revoke", "key_0")

    assert (0, "") == (talked.code, talked.err)
    assert talked.out.startswith("This is a rehearsal")
    assert "There is no key key_0." == failed.sentence
