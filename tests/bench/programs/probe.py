"""Calls an endpoint that does no I/O at an even pace: what it waits is what the event loop lags.

python -m tests.bench.programs.probe URL SECONDS

A call that comes late because the one before it was slow counts from when it was due. It prints
`tests.bench.results.Lag` as a line of JSON.
"""

import http.client
import sys
import time
from urllib.parse import urlsplit

import msgspec

from tests.bench.results import Lag, micros, percentile

PER_S = 100


def probe(url: str, seconds: float) -> Lag:
    """Calls for so many seconds."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    began = time.perf_counter()
    waits: list[float] = []
    failed = 0
    for number in range(round(seconds * PER_S)):
        due = began + number / PER_S
        time.sleep(max(0.0, due - time.perf_counter()))
        failed += not answers(connection, parts.path)
        waits.append(time.perf_counter() - due)
    waits.sort()
    return Lag(
        calls=len(waits),
        failed=failed,
        p50_us=micros(percentile(waits, 0.5)),
        p99_us=micros(percentile(waits, 0.99)),
        max_us=micros(percentile(waits, 1.0)),
    )


def answers(connection: http.client.HTTPConnection, path: str) -> bool:
    """One call; a broken connection is made anew by the next."""
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return False
    return response.status == 200


if __name__ == "__main__":
    found = probe(sys.argv[1], float(sys.argv[2]))
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
