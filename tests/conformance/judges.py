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


OPENAI_PYTHON = Judge(
    name="openai-python",
    package="openai",
    lock="test",
    licence="Apache-2.0",
    asks="OpenAI's client for Python on every endpoint of `/openapi.json`: whole and streamed, its helper "
    "for streams, tools, schemas, its error classes.",
    test="test_openai_python.py",
    score="17 of 17",
    excluded={},
)
OPENAI_NODE = Judge(
    name="openai-node",
    package="openai",
    lock="node",
    licence="Apache-2.0",
    asks="OpenAI's client for Node on every endpoint of `/openapi.json`: whole and streamed, its helpers for "
    "streams, tools and schemas, its error classes.",
    test="test_openai_node.py",
    score="18 of 18",
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
_WORDS = "judges the model's intelligence: "
_INPUTS = "no engine here takes these"
LANGCHAIN = Judge(
    name="LangChain's standard tests",
    package="langchain-tests",
    licence="MIT",
    asks="`ChatOpenAI` by chats and by responses, and `OpenAIEmbeddings`: calls, streams, batches, tools, "
    "histories with tools and images, structured answers, usage.",
    test="test_langchain.py",
    score="83 of 83, 18 excluded",
    excluded={
        "test_tool_calling": _WORDS + "the argument has to be the number that the question names",
        "test_tool_calling_async": _WORDS + "the same",
        "test_json_mode": _WORDS + "the keys have to be those that the question asks for in words",
        "test_agent_loop": _WORDS + "it has to see by itself that a tool is needed",
        "test_unicode_tool_call_integration": _WORDS + "the argument has to be the name in the question",
        "test_pdf_inputs": _INPUTS,
        "test_pdf_tool_message": _INPUTS,
        "test_audio_inputs": _INPUTS,
        "test_stream_time": "measures LangChain against a recording",
    },
)
SCHEMATHESIS = Judge(
    name="Schemathesis",
    package="schemathesis",
    licence="MIT",
    asks="Every operation of `/openapi.json`, with all checks: what fits the document is accepted, what does "
    "not is refused, no answer is a 5xx, every answer has a status, a type and a shape that the document "
    "tells. Bounded and seeded; `./penstock test --soak` runs it longer. Put into its calls are names of "
    "models and of requests, deadlines that lie ahead, and the call that a tool's answer belongs to: no "
    "schema tells them.",
    test="test_schemathesis.py",
    score="0 failures",
    excluded={},
)
OPEN_RESPONSES = Judge(
    name="Open Responses",
    package="openresponses-types",
    licence="Apache-2.0",
    asks="Responses and every event of their streams against the types that Mozilla.ai makes from the "
    "published schema (2026-04-24). The acceptance tests of openresponses.org are in no package registry; "
    "their cases are written anew here from what they ask, each whole and streamed, with four of our own: "
    "all options, a function in a stream, an answer that is cut, one in the background.",
    test="test_open_responses.py",
    score="16 of 16",
    excluded={
        "websocket-*": "seven cases of responses over WebSockets, which are not served",
        "compact-response": "`/responses/compact` is not served",
        "compact-missing-model": "`/responses/compact` is not served",
        "response-output-phase-schema": "it asks nothing of a server",
        "tool-calling": "asked with `tool_choice: required`: whether a tool is needed is the model's to see",
        "text.format json_schema": "the published schema has its `schema` as null; others judge it",
    },
)
ALL = (OPENAI_PYTHON, OPENAI_NODE, COMPATCANARY, SCHEMATHESIS, LANGCHAIN, OPEN_RESPONSES)
