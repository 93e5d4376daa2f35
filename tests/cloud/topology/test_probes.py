"""What probes and Prometheus hear of the dispatcher, which nobody else calls."""

import http.client
import json
from contextlib import closing

import pytest

from tests.cloud.topology.platform import PATIENCE_S, Platform, until

pytestmark = pytest.mark.slow

MODEL = "gemma-3-4b-it"


def get(platform: Platform, path: str) -> tuple[int, str]:
    port = platform.parts.ports["dispatcher"]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_the_dispatcher_is_alive_ready_and_counts_what_it_runs(platform: Platform) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 5}
    platform.ended(platform.publish(json.dumps(body).encode()))
    attempts = f'seconds_count{{error_type="",gen_ai_operation_name="chat",gen_ai_request_model="{MODEL}"'

    assert (200, 200) == (get(platform, "/health")[0], get(platform, "/ready")[0])
    until(lambda: attempts in get(platform, "/metrics")[1], "the attempt is counted")
    assert "penstock_queue_running" in get(platform, "/metrics")[1]
