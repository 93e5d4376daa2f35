"""The one place of names from OpenTelemetry's conventions, and the rule that makes Prometheus' names of them.

The gen_ai conventions are in development; these are the names of opentelemetry-semantic-conventions 0.66. A
test compares them with that package, and a new version of the conventions is a change of this module alone.
https://github.com/open-telemetry/semantic-conventions-genai
"""

import re

# Metrics of gen_ai, and the bounds of their buckets the conventions give them.
REQUEST_DURATION = "gen_ai.server.request.duration"
TIME_TO_FIRST_TOKEN = "gen_ai.server.time_to_first_token"  # noqa: S105
TIME_PER_OUTPUT_TOKEN = "gen_ai.server.time_per_output_token"  # noqa: S105
OPERATION_DURATION = "gen_ai.client.operation.duration"
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105

DURATIONS_S = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
FIRST_TOKENS_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
OUTPUT_TOKENS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(4**power for power in range(14))  # whole numbers are compared faster

# Attributes of gen_ai.
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105
STREAM = "gen_ai.request.stream"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"

# Other attributes of OpenTelemetry.
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
BATCH_SIZE = "messaging.batch.message_count"
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"

# What has no convention has our own prefix.
BACKEND = "penstock.backend"
REPLICA = "penstock.replica"
LANE = "penstock.lane"
STATE = "penstock.state"
RESULT = "penstock.result"
TENANT = "penstock.tenant"
REQUEST_ID = "penstock.request.id"
ATTEMPT = "penstock.attempt.number"
OUTCOME = "penstock.outcome"

_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
_PROVIDERS = {"gemini": "gcp.gemini", "google": "gcp.vertex_ai"}
_UNITS = {"s": "seconds", "By": "bytes"}


def operation_of(path: str) -> str:
    """What is asked of a model at one of our paths."""
    return _OPERATIONS.get(path, "chat")


def provider_of(kind: str, auth: str | None) -> str:
    """Whose dialect a backend speaks: `kind` and `auth` as the configuration document has them."""
    return _PROVIDERS.get(auth or kind, "openai")


def label_of(attribute: str) -> str:
    """An attribute's name at Prometheus."""
    return re.sub(r"\W", "_", attribute, flags=re.ASCII)


def metric_of(name: str, unit: str) -> str:
    """A metric's name at Prometheus, without the suffixes that follow from its kind: a unit is appended, one
    in braces dropped. https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics
    """
    found = label_of(name)
    suffix = _UNITS.get(unit, "")
    return f"{found}_{suffix}" if suffix and not found.endswith(suffix) else found
