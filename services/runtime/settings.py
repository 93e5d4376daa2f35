"""The settings of a process: read once from the environment, checked, frozen."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from events.words import Invalid, Record

PREFIX = "PENSTOCK_"
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
SECRET = frozenset({"api_key", "admin_key"})


def default_data_dir(environment: Mapping[str, str]) -> str:
    """Where data lies unless it is said otherwise."""
    home = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return str(Path(home) / "penstock")


class Settings(Record):
    """Every setting, as `PENSTOCK_<NAME>`. Times are in seconds, sizes in bytes.

    `engine` is a base URL; without it and without `config` the usual local ports are searched.
    `api_key` and `admin_key` are given to the development tenant and the admin endpoints instead of
    the ones made at the first start.
    """

    data_dir: str
    host: str = "127.0.0.1"
    port: Port = 4747
    metrics_port: Port | None = None
    metrics_host: str = "127.0.0.1"
    engine: str | None = None
    config: str | None = None
    api_key: str | None = None
    admin_key: str | None = None
    rehearsal_profile: str = "quick"
    rehearsal_log: str | None = None
    log_level: str = "warning"

    max_body_bytes: int = 32 * 2**20
    max_held_bytes: int = 512 * 2**20
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 120.0
    idle_timeout_s: float = 60.0
    total_timeout_s: float = 900.0
    stalled_client_timeout_s: float = 60.0
    drain_s: float = 8.0

    progress_every_s: float = 5.0
    silent_after_s: float = 30.0
    started_linger_s: float = 0.002
    usage_linger_s: float = 0.020

    queue_slots: int = 16
    queue_deadline_s: int = 86_400
    results_kept_s: int = 86_400
    lease_s: float = 30.0
    heartbeat_s: float = 10.0
    queue_failures: int = 4
    job_every_s: float | None = None


def read_settings(given: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; `given` ones that are not None win. Raises `Invalid` by name."""
    environment = os.environ if environment is None else environment
    found: dict[str, object] = {"data_dir": default_data_dir(environment)}
    for name in Settings.__struct_fields__:
        if text := environment.get(PREFIX + name.upper()):
            found[name] = text
    found.update({name: value for name, value in given.items() if value is not None})
    for name, value in found.items():
        _check(name, value)
    return msgspec.convert(found, Settings, strict=False)


def _check(name: str, value: object) -> None:
    kind = Settings.__annotations__[name]
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        shown = "its value" if name in SECRET else repr(value)
        raise Invalid(f"{PREFIX}{name.upper()}: {shown} is not right ({error}).") from error


def shown(settings: Settings) -> dict[str, object]:
    """The effective settings for people and logs, secrets masked."""
    values = msgspec.structs.asdict(settings)
    return {name: "***" if name in SECRET and value else value for name, value in values.items()}
