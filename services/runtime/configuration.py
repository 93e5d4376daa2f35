"""Which configuration document holds: the file named, else one made of the engine found."""

from contextlib import AsyncExitStack
from pathlib import Path

import yaml

from events.config import Config, read
from events.words import Invalid, Record
from services.embedded.engines import Engine, config_of, find_engine, named_engine
from services.rehearsal.endpoint import Options
from services.rehearsal.engine import RehearsalEngine
from services.rehearsal.profiles import PROFILES
from services.runtime.settings import Settings


class Chosen(Record):
    """The document and, in a few words for people, what answers."""

    config: Config
    engine: str


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
    """The document in a YAML file. Raises `Invalid` where it cannot be read."""
    try:
        config = read(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Invalid(f"PENSTOCK_CONFIG: {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"PENSTOCK_CONFIG: {path} is not UTF-8 text.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise Invalid(f"PENSTOCK_CONFIG: {path} is not YAML: {told}.") from error
    if not config.models:
        raise Invalid(f"PENSTOCK_CONFIG: {path} has no models: name at least one model.")
    return config
