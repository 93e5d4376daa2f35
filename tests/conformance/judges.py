"""Who judges the API from the outside, and what each said; the tests here prove that each still says so."""

import json
import re
from dataclasses import dataclass

from tests.conformance.installed import NODE_LOCK, PYTHON_LOCK

ROOT_LOCKS = PYTHON_LOCK.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """`package` names it in the lock that its version is read from. `excluded`: what of it is not asked, and
    why.
    """

    name: str
    package: str
    licence: str
    asks: str
    test: str
    score: str
    excluded: dict[str, str]
    lock: str = "conformance"

    @property
    def version(self) -> str:
        """The version that is locked."""
        if self.lock == "node":
            row = json.loads(NODE_LOCK.read_text(encoding="utf-8"))["packages"]
            return str(row[f"node_modules/{self.package}"]["version"])
        text = (ROOT_LOCKS / f"{self.lock}.txt").read_text(encoding="utf-8")
        (found,) = re.findall(rf"^{re.escape(self.package)}==(\S+)", text, re.MULTILINE)
        return str(found)


OPENAI_NODE = Judge(
    name="openai-node",
    package="openai",
    lock="node",
    licence="Apache-2.0",
    asks="OpenAI's client for Node on every endpoint of `/openapi.json`: whole and streamed, its helpers for "
    "streams, tools and schemas, its error classes.",
    test="test_openai_node.py",
    score="15 of 15",
    excluded={},
)
COMPATCANARY = Judge(
    name="CompatCanary",
    package="compatcanary",
    lock="node",
    licence="MIT",
    asks="Its profile `modern`: models, chats, streams, a forced tool, a strict schema, responses and their "
    "streams.",
    test="test_compatcanary.py",
    score="100 of 100",
    excluded={},
)
