"""Our names are those of the conventions, as OpenTelemetry publishes them."""

from importlib import import_module

from services.telemetry import names


def test_names_of_gen_ai_are_those_of_the_conventions() -> None:
    said: set[str] = set()
    for module in (
        "_incubating.metrics.gen_ai_metrics",
        "_incubating.attributes.gen_ai_attributes",
        "_incubating.attributes.messaging_attributes",
        "_incubating.attributes.http_attributes",
        "attributes.error_attributes",
        "attributes.server_attributes",
        "attributes.service_attributes",
        "_incubating.attributes.service_attributes",
    ):
        found = vars(import_module(f"opentelemetry.semconv.{module}"))
        said |= {value for value in found.values() if isinstance(value, str)}
    ours = [
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and not value.startswith("penstock.")
    ]

    assert len(ours) > 20
    assert [] == [name for name in ours if name not in said]
