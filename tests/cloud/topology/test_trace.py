"""`docs/trace.md` shows what is really said about a request."""

import json
import os
from pathlib import Path

import pytest

from tests.cloud.topology.platform import Platform, until
from tests.cloud.topology.test_crossing import MODEL
from tests.cloud.topology.trace import INGEST, Row, rendered, rows

pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[3] / "docs" / "trace.md"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 5}
LAST = {"`penstock.usage.recorded.v1`: started", "`penstock.usage.recorded.v1`: completed"}


def test_the_trace_in_the_docs_is_what_one_request_makes_the_parts_say(platform: Platform) -> None:
    topics = [topic for topic in platform.topics() if not topic.endswith(".dead")]
    with platform.watching(topics) as watch:
        topic = platform.topic(INGEST)
        message_id = platform.publisher.publish(topic, json.dumps(BODY).encode()).result(60)
        name = platform.request_of(message_id)
        told = platform.ended(name)

        def whole() -> list[Row]:
            found = rows(platform, watch.look(), name, message_id)
            said = {row.says for row in found}
            return found if said >= LAST and any("completed.v1`" in one for one in said) else []

        table = until(whole, "all of it is said")
    key = INGEST  # the topic acts as a key of this name
    until(lambda: key in {line["key"] for line in platform.usage()}, "it is billed")
    found = rendered(BODY, table, told["status"], key)
    if os.environ.get("UPDATE_TRACE"):
        FILE.write_text(found)

    assert found == FILE.read_text()
