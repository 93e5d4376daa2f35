"""Which configuration document holds: what is named at the start, what was applied, or the engine found."""

import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from events.config import Config
from events.words import Invalid, Record
from functions.routing import availability
from functions.routing.availability import Here
from services.configuration.feed import ConfigFeed
from services.configuration.reading import config_in, read_document
from services.embedded.engines import Engine, config_of, find_engine, named_engine
from services.rehearsal.endpoint import Options
from services.rehearsal.engine import RehearsalEngine
from services.rehearsal.profiles import PROFILES
from services.runtime.settings import Settings

GOOGLE = ("GOOGLE_APPLICATION_CREDENTIALS", "K_SERVICE", "KUBERNETES_SERVICE_HOST")  # one of them is set
GOOGLE_FILE = Path(".config/gcloud/application_default_credentials.json")  # below the home folder


class Chosen(Record):
    """The document and, in a few words for people, what answers."""

    config: Config
    engine: str


async def begin(feed: ConfigFeed, settings: Settings, stack: AsyncExitStack) -> Chosen:
    """Has `feed` serve what is named at the start (`PENSTOCK_CONFIG`, else an engine); else the document that
    was applied last, which may change at any time; else what is found. Raises like `choose`.
    """
    if not (settings.config or settings.engine):
        await feed.look()
        if feed.version:
            return Chosen(config=feed.config(), engine=f"as configured by version {feed.version}, applied")
    chosen = await choose(settings, stack)
    feed.begin(chosen.config, source_of(settings), pinned=_pinned(settings))
    return chosen


def source_of(settings: Settings) -> str:
    """Where a document comes from that was not applied."""
    if settings.config:
        return f"{settings.config} (PENSTOCK_CONFIG), read at the start"
    return "the engine named at the start" if settings.engine else "the engine found at the start"


def _pinned(settings: Settings) -> str:
    if settings.config:
        return (
            f"This platform serves {settings.config} (PENSTOCK_CONFIG), which wins at every start: change "
            "that file and start again, or start without PENSTOCK_CONFIG to apply documents."
        )
    if settings.engine:
        return "This platform serves the engine named by --engine: start without it to apply documents."
    return ""


def lacking_here(config: Config) -> dict[str, str]:
    """What backends need that is not in this process's environment, by backend."""
    return availability.lacking(config, here_of(config, os.environ, Path.home))


def here_of(config: Config, environment: Mapping[str, str], home: Callable[[], Path]) -> Here:
    """What there is of all that a document names. Secrets are looked for, and not kept."""
    keys = [backend.api_key for backend in config.backends.values() if backend.api_key is not None]
    return Here(
        variables=frozenset(key.env for key in keys if key.env and environment.get(key.env)),
        files=frozenset(key.file for key in keys if key.file and os.access(key.file, os.R_OK)),
        google=any(environment.get(name) for name in GOOGLE) or _is_logged_in(home),
    )


def _is_logged_in(home: Callable[[], Path]) -> bool:
    try:
        return (home() / GOOGLE_FILE).is_file()
    except (RuntimeError, OSError):  # no home, or none of ours
        return False


async def choose(settings: Settings, stack: AsyncExitStack) -> Chosen:
    """A file, an engine that is named, one found on its usual port; else the rehearsal engine, started
    here and stopped by `stack`. Raises `Invalid` where what was named cannot be used.
    """
    if settings.config is not None:
        if settings.engine:
            raise Invalid(
                f"PENSTOCK_CONFIG ({settings.config}) names the engines; leave --engine and "
                "PENSTOCK_ENGINE out, or unset PENSTOCK_CONFIG."
            )
        return Chosen(config=read_file(Path(settings.config)), engine=f"as configured in {settings.config}")
    engine = await (named_engine(settings.engine) if settings.engine else find_engine())
    if engine is not None:
        models = ", ".join(engine.models)
        return Chosen(config=config_of(engine), engine=f"{engine.name} at {engine.url} ({models})")
    return await _rehearse(settings, stack)


async def _rehearse(settings: Settings, stack: AsyncExitStack) -> Chosen:
    profile = PROFILES.get(settings.rehearsal_profile)
    if profile is None:
        known = ", ".join(PROFILES)
        raise Invalid(f"PENSTOCK_REHEARSAL_PROFILE is {settings.rehearsal_profile!r}; use one of {known}.")
    log_path = Path(settings.rehearsal_log) if settings.rehearsal_log else None
    rehearsal = RehearsalEngine(Options(profile=profile, log_path=log_path))
    try:
        port = await rehearsal.start("127.0.0.1", 0)
    except OSError as error:
        raise Invalid(f"PENSTOCK_REHEARSAL_LOG: {log_path} cannot be written: {error.strerror}.") from error
    stack.push_async_callback(rehearsal.close)
    made = Engine(name="rehearsal", url=f"http://127.0.0.1:{port}", models=(rehearsal.options.model,))
    return Chosen(
        config=config_of(made, rehearsal=True), engine="rehearsal (made-up answers: no engine was found)"
    )


def read_file(path: Path) -> Config:
    """The document PENSTOCK_CONFIG names. Raises `Invalid` where it cannot be read."""
    try:
        return config_in(read_document(path), path)
    except Invalid as error:
        raise Invalid(f"PENSTOCK_CONFIG: {error}") from error
