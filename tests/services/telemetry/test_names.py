"""Names are those of OpenTelemetry, and become those of Prometheus by the rule."""

import pytest

from services.telemetry import names
from services.telemetry.figures import FIGURES, GAUGES


@pytest.mark.parametrize(
    ("name", "unit", "metric"),
    [
        (names.REQUEST_DURATION, "s", "gen_ai_server_request_duration_seconds"),
        (names.TIME_TO_FIRST_TOKEN, "s", "gen_ai_server_time_to_first_token_seconds"),
        (names.TOKEN_USAGE, "{token}", "gen_ai_client_token_usage"),
        ("penstock.held", "By", "penstock_held_bytes"),
        ("penstock.held_bytes", "By", "penstock_held_bytes"),
        ("penstock.queue.waiting", "", "penstock_queue_waiting"),
    ],
)
def test_a_unit_is_appended_once_and_a_mere_word_dropped(name: str, unit: str, metric: str) -> None:
    assert metric == names.metric_of(name, unit)


def test_bounds_rise() -> None:
    for figure in FIGURES:
        assert list(figure.bounds) == sorted(set(figure.bounds)), figure.name


def test_every_figure_has_a_name_of_its_own() -> None:
    assert len(FIGURES) == len({figure.prometheus for figure in FIGURES})
    assert len(GAUGES) == len([figure for figure in FIGURES if figure.kind == "gauge"])


@pytest.mark.parametrize(
    ("kind", "auth", "provider"),
    [("openai", None, "openai"), ("gemini", None, "gcp.gemini"), ("gemini", "google", "gcp.vertex_ai")],
)
def test_a_backend_has_its_provider_by_the_conventions(kind: str, auth: str | None, provider: str) -> None:
    assert provider == names.provider_of(kind, auth)
