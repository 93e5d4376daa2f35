"""OpenTelemetry's libraries are installed by `./penstock test --all` only."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("opentelemetry") else ["test_*.py"]
