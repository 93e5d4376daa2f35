"""Which engine answers: one that is named, or one found on its usual local port."""

import asyncio
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

import httptools
import msgspec

from events.config import Backend, Config, Model
from events.words import Invalid, Record

USUAL = (
    ("Ollama", "http://127.0.0.1:11434"),
    ("llama-server", "http://127.0.0.1:8080"),
    ("vLLM", "http://127.0.0.1:8000"),
)
PROBE_TIMEOUT_S = 1.0
NAMED_TIMEOUT_S = 5.0
MAX_ANSWER = 2**20
# A timeout is an OSError; what is no UTF-8, no JSON or of another shape is a ValueError.
NO_ENGINE = (OSError, ValueError, RecursionError, httptools.HttpParserError, httptools.HttpParserUpgrade)
ASK = "GET /v1/models HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\nconnection: close\r\n\r\n"


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


async def find_engine(
    places: Sequence[tuple[str, str]] = USUAL, within_s: float = PROBE_TIMEOUT_S
) -> Engine | None:
    """The first of these places where an engine with a usable model answers; all are asked at once, and
    it takes `within_s` seconds at most, whatever listens there.
    """
    probes = [asyncio.create_task(probe(name, url, within_s)) for name, url in places]
    try:
        for asked in probes:
            if found := await asked:
                return found
        return None
    finally:
        for asked in probes:
            asked.cancel()
        await asyncio.gather(*probes, return_exceptions=True)


async def named_engine(url: str) -> Engine:
    """The engine at a base URL. Raises `Invalid` where none answers there with a model."""
    if not _is_base(url):
        raise Invalid(f"The engine {url!r} is not a base URL like http://127.0.0.1:11434.")
    base = f"http://{urlsplit(url).netloc}"
    found = await probe("engine", base, NAMED_TIMEOUT_S)
    if found is None:
        raise Invalid(f"No engine with a model answers at {base}/v1/models. Start it, then try again.")
    return found


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    return plain and parts.scheme == "http" and bool(parts.hostname) and port != 0


async def probe(name: str, url: str, within_s: float) -> Engine | None:
    """Asks one address for its models; None where nothing there speaks the OpenAI wire in time."""
    try:
        async with asyncio.timeout(within_s):
            answer = await _ask(urlsplit(url))
        rows = msgspec.json.decode(answer, type=_Models).data
    except NO_ENGINE:
        return None
    usable = [row for row in rows if row.id and "embed" not in row.id.lower()]
    if not usable:
        return None
    return Engine(
        name=name,
        url=url,
        models=tuple(row.id for row in usable),
        context={row.id: context for row in usable if (context := _context(row))},
    )


class _Answer:
    """What httptools tells of a response."""

    def __init__(self) -> None:
        self.body = b""
        self.whole = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.whole = True


async def _ask(place: SplitResult) -> bytes:
    """The body of the answer; nothing where its status is not 200."""
    reader, writer = await asyncio.open_connection(place.hostname, place.port or 80)
    try:
        writer.write(ASK.format(host=place.netloc).encode())
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.whole and len(answer.body) < MAX_ANSWER and (data := await reader.read(2**16)):
            parser.feed_data(data)
        return answer.body if parser.get_status_code() == 200 else b""
    finally:
        writer.transport.abort()


def _context(row: _Row) -> int | None:
    return row.max_model_len or (row.meta.n_ctx_train if row.meta else None)


def config_of(engine: Engine, *, rehearsal: bool = False) -> Config:
    """The configuration document of one engine: every model it has, on one backend."""
    backend = "rehearsal" if rehearsal else "pool"
    return Config(
        backends={backend: Backend(replicas=(engine.url,), rehearsal=rehearsal)},
        models={model: Model(backend=backend, context=engine.context.get(model)) for model in engine.models},
    )
