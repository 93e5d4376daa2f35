"""`docs/conformance.md`, as the table of judges tells it."""

from collections.abc import Iterator
from textwrap import fill

from tests.conformance.installed import ROOT
from tests.conformance.judges import ALL, Judge
from tests.ollama.build import VERSION

PAGE = ROOT / "docs" / "conformance.md"
WIDTH = 110

HEAD = """# Who judges the API

*Written from `tests/conformance/judges.py`; `UPDATE_DOCS=1` has it written anew. The tests beside it run each
judge and fail where its score is another one.*

Programs that others wrote to use or to judge such an API call a real `penstock up`, whose engine is the
[rehearsal engine](rehearsal.md). They are installed from locks with hashes (`infra/locks/conformance.txt`,
`tests/conformance/node/package-lock.json`) into folders of their own under `~/.cache/penstock-conformance`;
openai-python is among the packages of all tests. `./penstock test --all`, and so CI, runs all of them; Node's
need Node.js 20 or newer.

| Judge | Version | Licence | Score |
|---|---|---|---|
"""


TAIL = f"""
## A real engine

Ollama {VERSION.removeprefix("v")}, with tiny models of random weights, serves every endpoint it has through
the platform to both of OpenAI's clients, and responses, which are made of its chats. What it counts is what
the ledger says.

```sh
./penstock test -m slow tests/ollama
```
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(_line, ALL)) + "".join(map(_section, ALL)) + TAIL


def _line(judge: Judge) -> str:
    return f"| [{judge.name}](#{_anchor(judge)}) | {judge.version} | {judge.licence} | {judge.score} |\n"


def _anchor(judge: Judge) -> str:
    kept = (letter for letter in judge.name.lower() if letter.isalnum() or letter in " -")
    return "".join(kept).replace(" ", "-")


def _section(judge: Judge) -> str:
    return "".join(_told(judge))


def _told(judge: Judge) -> Iterator[str]:
    yield f"\n## {judge.name}\n\n{fill(judge.asks, WIDTH, break_on_hyphens=False)}\n\n"
    yield f"```sh\n./penstock test -m slow tests/conformance/{judge.test}\n```\n"
    if judge.excluded:
        yield "\n| Excluded | because |\n|---|---|\n"
    for name, reason in judge.excluded.items():
        yield f"| `{name}` | {reason} |\n"
