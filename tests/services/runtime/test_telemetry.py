"""What the environment says of telemetry, and that nothing of it is loaded where nobody asks."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from events.words import Invalid
from services.runtime.logs import JsonLines, in_json
from services.runtime.telemetry import Wish, read_wish
from services.telemetry.context import Sampler

ROOT = Path(__file__).parents[3]
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

STARTS = """
import asyncio, sys
from services.runtime.local import LocalPlatform
from services.runtime.settings import Settings
from services.runtime.telemetry import Wish
if sys.argv[2:]:
    sys.modules["opentelemetry"] = None  # as if it were not installed

async def run():
    url = "http://127.0.0.1:9/v1/traces" if sys.argv[2:] else ""
    platform = LocalPlatform(Settings(data_dir=sys.argv[1], port=0, metrics_port=0), Wish(traces_url=url))
    await platform.start()
    await platform.stop()

try:
    asyncio.run(run())
except Exception as error:
    print(type(error).__name__, error)
heavy = ("opentelemetry", "requests")
print([name for name, module in sys.modules.items() if module and name.partition(".")[0] in heavy])
"""


def test_without_a_word_nothing_is_sent() -> None:
    assert Wish() == read_wish({})


def test_an_endpoint_takes_traces_and_figures() -> None:
    wish = read_wish({ENDPOINT: "http://collector:4318/", "OTEL_METRIC_EXPORT_INTERVAL": "5000"})

    assert ("http://collector:4318/v1/traces", "http://collector:4318/v1/metrics") == (
        wish.traces_url,
        wish.metrics_url,
    )
    assert 5.0 == wish.every_s


def test_each_can_go_elsewhere_or_nowhere() -> None:
    wish = read_wish(
        {
            ENDPOINT: "http://collector:4318",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces/v1/traces",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_SERVICE_NAME": "mine",
            "GOOGLE_CLOUD_PROJECT": "acme",
        }
    )

    assert ("https://traces/v1/traces", "", "mine", "acme") == (
        wish.traces_url,
        wish.metrics_url,
        wish.service,
        wish.project,
    )
    assert Sampler(ratio=1.0, by_parent=False) == wish.sampler


def test_the_switch_of_opentelemetry_turns_all_of_it_off() -> None:
    assert Wish() == read_wish({ENDPOINT: "http://collector:4318", "OTEL_SDK_DISABLED": "true"})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        (ENDPOINT, "collector:4318"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "grpc://x"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "nan"),
        ("OTEL_TRACES_SAMPLER", "some"),
        ("OTEL_TRACES_SAMPLER_ARG", "-1"),
    ],
)
def test_what_is_wrong_is_told_by_its_variable(variable: str, text: str) -> None:
    with pytest.raises(Invalid, match=f"^{variable} is '{text}'; use "):
        read_wish({variable: text})


def started(folder: Path, *more: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-P", "-c", STARTS, str(folder), *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    return ended.stdout


@pytest.mark.slow
def test_a_platform_that_tells_nobody_loads_nothing_of_it(tmp_path: Path) -> None:
    assert "[]\n" == started(tmp_path)


@pytest.mark.slow
def test_where_the_libraries_are_missing_the_start_says_what_to_install(tmp_path: Path) -> None:
    told = started(tmp_path, "missing")

    assert told.startswith(f"Invalid {ENDPOINT} is set, but OpenTelemetry is not installed here")
    assert "install the extra `otel`, or unset it." in told


@pytest.mark.parametrize(
    ("wished", "project", "json_lines"),
    [(None, "", False), (None, "acme", True), ("text", "acme", False), ("json", "", True)],
)
def test_logs_are_json_in_the_cloud_or_where_it_is_said(
    wished: str | None, project: str, json_lines: bool
) -> None:
    assert json_lines == in_json(wished, project)


def test_a_log_record_is_one_line_with_its_severity_and_traceback() -> None:
    with pytest.raises(ValueError, match="two") as failed:
        int("two\nlines")
    told = (failed.type, failed.value, failed.tb)
    record = logging.LogRecord("penstock.x", logging.WARNING, "f", 1, "it %s", ("failed",), told)
    text = JsonLines().format(record)
    line = json.loads(text)

    assert "\n" not in text
    assert ("WARNING", "penstock.x") == (line["severity"], line["logger"])
    assert line["message"].startswith("it failed\nTraceback")
    assert {"seconds", "nanos"} == line["timestamp"].keys()
