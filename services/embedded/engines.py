"""Which engine answers: one that is named, or one found on its usual local port."""

import http.client
from urllib.parse import urlsplit

import msgspec

from events.config import Backend, Config, Model
from events.words import Invalid, Record

USUAL = (
    ("Ollama", "http://127.0.0.1:11434"),
    ("llama-server", "http://127.0.0.1:8080"),
    ("vLLM", "http://127.0.0.1:8000"),
)
PROBE_TIMEOUT_S = 0.5
NAMED_TIMEOUT_S = 5.0


class Engine(Record):
    """An engine that answers, and the models it has; `context` by model where it tells."""

    name: str
    url: str
    models: tuple[str, ...]
    context: dict[str, int] = {}


class _Meta(msgspec.Struct):
    n_ctx_train: int | None = None


class _Row(msgspec.Struct):
    id: str
    max_model_len: int | None = None
    meta: _Meta | None = None


class _Models(msgspec.Struct):
    data: list[_Row]


def find_engine() -> Engine | None:
    """The first engine with a usable model on its usual local port."""
    for name, url in USUAL:
        found = probe(name, url, PROBE_TIMEOUT_S)
        if found is not None:
            return found
    return None


def named_engine(url: str) -> Engine:
    """The engine at a base URL. Raises `Invalid` where none answers there with a model."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Invalid(f"The engine {url!r} is not a base URL like http://127.0.0.1:11434.")
    base = f"http://{parts.netloc}"
    found = probe("engine", base, NAMED_TIMEOUT_S)
    if found is None:
        raise Invalid(f"No engine with a model answers at {base}/v1/models. Start it, then try again.")
    return found


def probe(name: str, url: str, timeout_s: float) -> Engine | None:
    """Asks one address for its models; None where nothing there speaks the OpenAI wire."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    try:
        connection.request("GET", "/v1/models")
        response = connection.getresponse()
        body = response.read(1 << 20)
        if response.status != 200:
            return None
        rows = msgspec.json.decode(body, type=_Models).data
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    usable = [row for row in rows if row.id and "embed" not in row.id.lower()]
    if not usable:
        return None
    return Engine(
        name=name,
        url=url,
        models=tuple(row.id for row in usable),
        context={row.id: context for row in usable if (context := _context(row))},
    )


def _context(row: _Row) -> int | None:
    return row.max_model_len or (row.meta.n_ctx_train if row.meta else None)


def config_of(engine: Engine, *, rehearsal: bool = False) -> Config:
    """The configuration document of one engine: every model it has, on one backend."""
    backend = "rehearsal" if rehearsal else "pool"
    return Config(
        backends={backend: Backend(replicas=(engine.url,), rehearsal=rehearsal)},
        models={model: Model(backend=backend, context=engine.context.get(model)) for model in engine.models},
    )
