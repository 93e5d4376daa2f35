"""`penstock up` beside an Ollama, and the commands one tries first."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ollama.serving import BRIEF, Ollama, serving
from tests.support.command import Ended, penstock, started, up

pytestmark = pytest.mark.slow

USUAL = 11434
FIRST = f"{BRIEF}:latest"  # as Ollama calls it; of two models the one that commands choose
HELLO = "What is a penstock?"


@contextmanager
def beside(folder: Path, ollama: Ollama) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where an Ollama answers and what `up` has to be told of it: nothing, where the usual port is free."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken = bool(found.connect_ex(("127.0.0.1", USUAL)) == 0)
    if taken:
        yield f"engine at {ollama.url}", ("--engine", ollama.url)
    else:
        with serving(folder, USUAL) as usual:
            yield f"Ollama at {usual.url}", ()


def test_it_answers_from_the_ollama_it_finds(tmp_path: Path, ollama: Ollama) -> None:
    folder, data = tmp_path / "ollama", tmp_path / "data"
    folder.mkdir()
    with beside(folder, ollama) as (name, arguments), up(data, *arguments) as platform:
        where = ("--data-dir", str(data))
        chatted = penstock("chat", HELLO, *where)
        published = penstock("publish", "--prompt", HELLO, "--wait", "--json", *where)
        printed = penstock("publish", "--prompt", HELLO, "--wait", *where)
        counted = counting(3, *where)
        table = penstock("usage", *where)

    assert platform.first_line["engine"].startswith(f"{name} (")
    assert ollama.models() == platform.first_line["models"]
    assert all(ended.code == 0 for ended in (chatted, published, printed, table))
    assert chatted.out.strip()
    assert printed.out.strip()
    assert "rehearsal" not in chatted.out
    prompt = published.json["response"]["body"]["usage"]["prompt_tokens"]
    assert [3, 3 * prompt, 0] == [
        sum(row[name] for row in counted.json) for name in ("requests", "input_tokens", "estimated_tokens")
    ]
    assert FIRST in table.out


def counting(requests: int, *where: str) -> Ended:
    """`penstock usage`, once it counts that many: its figures are a second or so behind."""
    while True:
        told = penstock("usage", "--json", *where)
        if sum(row["requests"] for row in told.json) >= requests:
            return told


def test_people_are_told_which_engine_answers(tmp_path: Path, ollama: Ollama) -> None:
    ports = ("--port", "0", "--metrics-port", "0")
    told = []
    with started("up", *ports, "--engine", ollama.url, "--data-dir", str(tmp_path)) as process:
        while not told or "Ctrl-C" not in told[-1]:
            told.append(process.line())

    engine = next(line for line in told if "Engine" in line)
    assert f"engine at {ollama.url} (" in engine
    assert all(model in engine for model in ollama.models())
    assert any(f'"model": "{FIRST}"' in line for line in told)


def test_a_model_that_ollama_does_not_have_is_told_with_those_it_has(tmp_path: Path, ollama: Ollama) -> None:
    with up(tmp_path, "--engine", ollama.url):
        asked = penstock("chat", HELLO, "--model", "gpt-9", "--data-dir", str(tmp_path))

    assert f"Models: {', '.join(ollama.models())}." in asked.sentence
