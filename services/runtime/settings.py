"""The settings of a process: read once from the environment, checked, frozen."""

import math
import os
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import msgspec
from msgspec import Meta
from msgspec.inspect import (
    Field,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    StructType,
    Type,
    UnionType,
    type_info,
)

from events.config import WhenCold
from events.requests import LARGEST_BODY
from events.words import Invalid, Record

PREFIX = "PENSTOCK_"
SECRET = frozenset({"api_key", "admin_key"})
HOSTS = frozenset({"host", "metrics_host"})
DAY_S = 86_400

Port = Annotated[int, Meta(ge=0, le=65_535)]


class Settings(Record):
    """Every setting, as `PENSTOCK_<NAME>`. Times are in seconds (`_s`), sizes in bytes (`_bytes`)."""

    data_dir: Annotated[str, Meta(description="The folder for everything that is kept.")]
    host: Annotated[str, Meta(description="The address to listen on. 0.0.0.0 lets other machines in.")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, Meta(description="The port of the API; 0 takes any that is free.")] = 4747
    metrics_host: Annotated[
        str, Meta(description="The address Prometheus reads, apart from the one of the API.")
    ] = "127.0.0.1"
    metrics_port: Annotated[
        Port | None,
        Meta(description="The port Prometheus reads; 0 takes any. Unset: 9090, or any where that is taken."),
    ] = None
    engine: Annotated[
        str | None,
        Meta(description="Base URL of the engine that answers. Unset: one is looked for on the usual ports."),
    ] = None
    config: Annotated[
        str | None,
        Meta(description="A YAML file that names models and backends, instead of `PENSTOCK_ENGINE`."),
    ] = None
    api_key: Annotated[
        str | None,
        Meta(description="The development key, instead of the one made at the first start."),
    ] = None
    admin_key: Annotated[
        str | None, Meta(description="The operators' key, instead of the one made at the first start.")
    ] = None
    rehearsal_profile: Annotated[
        str, Meta(description="How fast the rehearsal engine answers; `penstock engine --help` lists them.")
    ] = "quick"
    rehearsal_log: Annotated[
        str | None, Meta(description="A file to which the rehearsal engine appends a line for every attempt.")
    ] = None
    log_level: Annotated[
        str, Meta(description="What is logged: `debug`, `info`, `warning`, `error` or `critical`.")
    ] = "warning"
    log_format: Annotated[
        Literal["text", "json"] | None,
        Meta(
            description="How it is logged: `text` for people, `json` for Cloud Logging. Unset: `json` where "
            "`GOOGLE_CLOUD_PROJECT` is set, else `text`."
        ),
    ] = None
    access_log: Annotated[
        Literal["on", "off"] | None,
        Meta(
            description="Whether every finished request is logged, a line each, without its content. Unset: "
            "where logs are JSON."
        ),
    ] = None

    front: Annotated[
        Literal["own", "uvicorn"],
        Meta(description="Who speaks HTTP: our own front, or uvicorn, where that is installed."),
    ] = "own"
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=2**30, description="The largest body of a call; larger ones get 413.")
    ] = 32 * 2**20
    max_held_bytes: Annotated[
        int,
        Meta(ge=2**20, le=2**40, description="What all bodies under way may hold together; then 503."),
    ] = 512 * 2**20
    connect_timeout_s: Annotated[
        float, Meta(ge=0.1, le=300, description="How long an engine may take to accept a connection.")
    ] = 5.0
    first_byte_timeout_s: Annotated[
        float, Meta(ge=0.1, le=DAY_S, description="How long an engine may take to begin its answer.")
    ] = 120.0
    idle_timeout_s: Annotated[
        float, Meta(ge=0.1, le=DAY_S, description="How long an answer that began may pause.")
    ] = 60.0
    total_timeout_s: Annotated[
        float, Meta(ge=0.1, le=DAY_S, description="How long a call may take from its start to its end.")
    ] = 900.0
    commit_after_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=DAY_S,
            description="How long a stream may be silent, before a part of its answer came, until a comment "
            "keeps it alive.",
        ),
    ] = 10.0
    attempts: Annotated[
        int,
        Meta(
            ge=1,
            le=10,
            description="How often engines are called for one request at most, while its client has seen "
            "nothing of an answer.",
        ),
    ] = 3
    cold: Annotated[
        WhenCold,
        Meta(
            description="What becomes of a call while no engine of its model can be reached, where neither "
            "the call nor the model says: `fail` is 503, `hold` waits for an engine, `fallback` has another "
            "model answer."
        ),
    ] = "fail"
    stalled_client_timeout_s: Annotated[
        float, Meta(ge=0.1, le=DAY_S, description="How long a client may read nothing before it is cut off.")
    ] = 60.0
    drain_s: Annotated[
        float, Meta(ge=0, le=3600, description="How long calls under way may go on once a signal ends `up`.")
    ] = 8.0

    key_grace_s: Annotated[
        float,
        Meta(
            ge=5,
            le=DAY_S,
            description="How long known keys go on while it cannot be checked if they still may.",
        ),
    ] = 300.0

    progress_every_s: Annotated[
        float, Meta(ge=0.1, le=3600, description="How often the tokens of a long answer are recorded.")
    ] = 5.0
    silent_after_s: Annotated[
        float,
        Meta(ge=1, le=DAY_S, description="How long an attempt may record nothing before it is estimated."),
    ] = 30.0
    started_linger_s: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="How long the record of a start waits for others; answers wait for it. "
            "Unset: 0.002 on SQLite, 0.1 on Pub/Sub, where every page costs money and two pages of starts "
            "are at least so far apart."
        ),
    ] = None
    usage_linger_s: Annotated[
        Annotated[float, Meta(ge=0, le=60)] | None,
        Meta(
            description="How long all other usage records wait for others. "
            "Unset: 0.02 on SQLite, 0.25 on Pub/Sub."
        ),
    ] = None

    on_meter_outage: Annotated[
        Literal["refuse", "serve"],
        Meta(
            description="What becomes of calls while usage cannot be recorded. `refuse`: 503. `serve`: they "
            "are answered for at most 60 s; a crash in that time loses their records."
        ),
    ] = "refuse"

    queue_slots: Annotated[int, Meta(ge=1, le=4096, description="How many queued requests run at once.")] = 16
    queue_deadline_s: Annotated[
        int, Meta(ge=1, le=7 * DAY_S, description="How long a request may wait that names no deadline.")
    ] = DAY_S
    results_kept_s: Annotated[
        int,
        Meta(
            ge=1,
            le=366 * DAY_S,
            description="How long a result is kept: of a queued request, or under an idempotency key.",
        ),
    ] = DAY_S
    queue_body_bytes: Annotated[
        int,
        Meta(
            ge=1024, le=LARGEST_BODY, description="The largest body that can be queued; larger ones get 413."
        ),
    ] = LARGEST_BODY
    lease_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="How long a claim on a queued request, or an idempotency key, holds unless renewed.",
        ),
    ] = 30.0
    heartbeat_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="How often a claim is renewed. Over half a lease, requests may be run twice.",
        ),
    ] = 10.0
    queue_failures: Annotated[
        int, Meta(ge=1, le=100, description="How many attempts may fail before a queued request does.")
    ] = 4
    job_every_s: Annotated[
        Annotated[float, Meta(ge=0.1, le=DAY_S)] | None,
        Meta(description="How often every job starts. Unset: each as often as [events](events.md) says."),
    ] = None

    cache_wait_ms: Annotated[
        int,
        Meta(ge=0, le=1000, description="How many ms a request may wait for the shared tier of the cache."),
    ] = 15
    cache_bytes: Annotated[
        int, Meta(ge=0, le=2**40, description="What cached answers may hold in the router's memory.")
    ] = 64 * 2**20

    backup_dir: Annotated[
        str | None,
        Meta(description="The folder of backups, on another disk if you can. Unset: one in the data folder."),
    ] = None
    backups_kept: Annotated[
        int, Meta(ge=1, le=10_000, description="How many of the newest backups are kept.")
    ] = 12
    backup_days: Annotated[
        int, Meta(ge=1, le=3660, description="For how many days the last backup of a day is kept.")
    ] = 30
    backup_keys_days: Annotated[
        int,
        Meta(ge=1, le=3660, description="The same for copies of data keys, erased ones among them."),
    ] = 7


KINDS = get_type_hints(Settings, include_extras=True)

# Of each pair, the first may be no more than so many times the second.
RELATIONS = (
    ("max_body_bytes", 1.0, "max_held_bytes", "at most {}: a larger body could never be taken in"),
    ("progress_every_s", 0.5, "silent_after_s", "at most half of {}: who records is not silent"),
)


class Allowed(Record):
    """What a setting may be: `text` or, where `most` is given, a number from `least` to `most`."""

    text: str = "a line of text"
    whole: bool = False
    least: int | float | None = None
    most: int | float | None = None

    def __str__(self) -> str:
        if self.most is None:
            return self.text
        return f"a {'whole ' if self.whole else ''}number from {self.least} to {self.most}"


class Setting(Record):
    """One setting, as the manual describes it."""

    name: str
    meaning: str
    default: object
    allowed: Allowed

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()


def default_data_dir(environment: Mapping[str, str], home: Callable[[], Path] = Path.home) -> str:
    """Where data lies unless it is said otherwise. Raises `Invalid` where there is no home folder."""
    shared = environment.get("XDG_DATA_HOME", "")
    if Path(shared).is_absolute():  # else it is to be ignored, says its specification
        return str(Path(shared) / "penstock")
    try:
        return str(home() / ".local" / "share" / "penstock")
    except RuntimeError as error:
        raise Invalid(
            "There is no home folder to keep data in: name a data folder with --data-dir or "
            f"{PREFIX}DATA_DIR."
        ) from error


def read_settings(
    given: Mapping[str, object],
    environment: Mapping[str, str] | None = None,
    home: Callable[[], Path] = Path.home,
) -> Settings:
    """Settings from the environment; `given` ones that are not None win. Raises `Invalid` by name."""
    environment = os.environ if environment is None else environment
    found: dict[str, object] = {}
    for name in Settings.__struct_fields__:
        if text := environment.get(PREFIX + name.upper()):
            found[name] = text
    found.update({name: value for name, value in given.items() if value is not None})
    if "data_dir" not in found:
        found["data_dir"] = default_data_dir(environment, home)
    for name, value in found.items():
        _check(name, value)
    settings = msgspec.convert(found, Settings, strict=False)
    _relate(settings)
    return settings


def _check(name: str, value: object) -> None:
    if not _right(name, value):
        said = "not right" if name in SECRET else reprlib.repr(value)
        allowed = next(setting.allowed for setting in described() if setting.name == name)
        raise Invalid(f"{PREFIX}{name.upper()} is {said}; use {allowed}.")


def _right(name: str, value: object) -> bool:
    try:
        read = msgspec.convert(value, KINDS[name], strict=False)
    except msgspec.ValidationError:
        return False
    if isinstance(read, str):  # it may end up in a header or a log
        return bool(read) and read.isprintable() and (name not in HOSTS or _may_be_a_host(read))
    return read is not None and math.isfinite(read)  # what is not a number passes every bound


def _may_be_a_host(text: str) -> bool:
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return True


def _relate(settings: Settings) -> None:
    for name, most, other, told in RELATIONS:
        value, bound = getattr(settings, name), getattr(settings, other)
        if value > most * bound:
            allowed = told.format(f"{PREFIX}{other.upper()} ({bound:.15g})")
            raise Invalid(f"{PREFIX}{name.upper()} is {value:.15g}; use {allowed}.")


def shown(settings: Settings) -> dict[str, object]:
    """The effective settings for people and logs, secrets masked."""
    values = msgspec.structs.asdict(settings)
    return {name: "***" if name in SECRET and value else value for name, value in values.items()}


def described() -> tuple[Setting, ...]:
    """Every setting in its order, for the manual and for what is told of a wrong value."""
    struct = type_info(Settings)
    assert isinstance(struct, StructType)
    return tuple(_described(field) for field in struct.fields)


def _described(field: Field) -> Setting:
    assert isinstance(field.type, Metadata)
    assert field.type.extra_json_schema is not None
    meaning = field.type.extra_json_schema["description"]
    allowed = Allowed(text="a host's name or address") if field.name in HOSTS else _allowed(field.type.type)
    return Setting(name=field.name, meaning=meaning, default=field.default, allowed=allowed)


def _allowed(kind: Type) -> Allowed:
    if isinstance(kind, UnionType):  # with None: it may be unset
        return _allowed(kind.types[0])
    if isinstance(kind, IntType | FloatType):
        return Allowed(whole=isinstance(kind, IntType), least=kind.ge, most=kind.le)
    if isinstance(kind, LiteralType):
        return Allowed(text=" or ".join(f"`{value}`" for value in kind.values))
    return Allowed()
