"""Reads a configuration document from plain data, and tells all that is wrong with it."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from urllib.parse import urlsplit

import msgspec
from msgspec.inspect import DictType, StructType, Type, UnionType, VarTupleType, type_info

from events.config import TASK, Backend, Candidate, Config, Fleet, Model, Secret
from events.words import Invalid

LARGEST = 900 * 1024  # bytes of a document in JSON: a stored one has to fit
MOST_REPLICAS = 1000
MOST_SLOTS = 4096
MOST_CALLS = 100_000
MOST_AFFINITY = 1000
DEAREST = 1_000_000
LONGEST_BOOT_S = 3600
LONGEST_DEADLINE_S = 86_400
LONGEST_TTL_S = 7 * 86_400
LONGEST_NAME = 200
LONGEST_CHAIN = 16
HEAVIEST = 1_000_000

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DNS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\.?:(\d{1,5})")
TASK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
HERE = ("localhost", "127.0.0.1", "::1")  # nothing leaves the machine on the way there


class Unfit(Invalid):
    """A document that cannot hold; `mistakes` are all sentences about it."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(" ".join(mistakes))
        self.mistakes = mistakes


def read(document: object) -> Config:
    """A `Config` from plain data (parsed YAML or JSON). Raises `Unfit` naming every field at fault; a value
    that may be a secret is never quoted.
    """
    mistakes = [*_literal_secrets(document), *_unknown(document, _shape(), "")]
    mistakes = mistakes or list(_misshapen(document))
    if mistakes:
        raise Unfit(mistakes)
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise Unfit([f"The configuration document is not valid: {error}."]) from error
    mistakes = [*_names(config), *_backends(config), *_models(config)]
    mistakes = mistakes or list(_chains(config))
    if mistakes:
        raise Unfit(mistakes)
    return config


# --- the shape


@cache
def _shape() -> Type:
    """What the schema says of a document, which takes milliseconds to find out."""
    return type_info(Config)


def _sections(document: object) -> Iterator[tuple[str, str, object]]:
    """The entries under `backends` and `models`, with the section's and their own names."""
    for section in ("backends", "models"):
        entries = document.get(section) if isinstance(document, Mapping) else None
        if isinstance(entries, Mapping):
            yield from ((section, str(name), entry) for name, entry in entries.items())


def _literal_secrets(document: object) -> Iterator[str]:
    for section, name, entry in _sections(document):
        key = entry.get("api_key") if isinstance(entry, Mapping) else None
        if key is not None and not isinstance(key, Mapping):
            yield (
                f"{section}.{name}.api_key holds a value. Secrets never stand in the document: write where "
                "it lies, {env: NAME} or {file: PATH}, and if it was a real key, replace it."
            )
        if isinstance(entry, Mapping) and entry.get("auth") not in (None, "google"):
            yield f"{section}.{name}.auth may only be google; where a key lies is said by api_key."


def _unknown(found: object, kind: Type, path: str) -> Iterator[str]:
    """Fields nobody knows, each with the name it may have been meant to be."""
    match kind:
        case StructType() if isinstance(found, Mapping):
            known = {field.encode_name: field.type for field in kind.fields}
            for name, value in found.items():
                if name in known:
                    yield from _unknown(value, known[name], f"{path}{name}.")
                else:
                    yield _unknown_field(f"{path}{name}", str(name), list(known))
        case DictType() if isinstance(found, Mapping):
            for name, value in found.items():
                yield from _unknown(value, kind.value_type, f"{path}{name}.")
        case VarTupleType() if isinstance(found, list | tuple):
            for number, value in enumerate(found):
                yield from _unknown(value, kind.item_type, f"{path}{number}.")
        case UnionType():
            for member in kind.types:
                yield from _unknown(found, member, path)


def _unknown_field(path: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
    return f"{path} is no field of a configuration document: {hint}"


def _misshapen(document: object) -> Iterator[str]:
    kinds: dict[str, type[Backend | Model]] = {"backends": Backend, "models": Model}
    for section, name, entry in _sections(document):
        try:
            msgspec.convert(entry, kinds[section])
        except msgspec.ValidationError as error:
            told, _, where = str(error).partition(" - at `$")
            yield f"{section}.{name}{where.rstrip('`')} is not right: {told}."


# --- what stands for itself


def _names(config: Config) -> Iterator[str]:
    for section in ("models", "backends", "aliases"):
        for name in getattr(config, section):
            if not (name and name.isprintable() and len(name) <= LONGEST_NAME):
                yield f"{section} has {name[:50]!r}: a name is 1 to {LONGEST_NAME} printable characters."
            elif section != "backends" and name.startswith(TASK):
                yield f"{section}.{name} begins with {TASK}, which stands for task types: name it otherwise."
    for name, target in config.aliases.items():
        if name in config.models:
            yield f"aliases.{name} is the name of a model as well: drop one of them."
        if target not in config.models and target not in config.aliases:
            yield f"aliases.{name} names {target!r}, which is no model{_near(target, config.models)}."


def _near(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _outside(where: str, value: float | None, least: float, most: float, unit: str) -> Iterator[str]:
    if value is not None and not least <= value <= most:  # also where it is no number at all
        yield f"{where} is {value:g}: it must be {least:g} to {most:g}{unit}."


# --- backends


def _backends(config: Config) -> Iterator[str]:
    for name, backend in config.backends.items():
        where = f"backends.{name}"
        yield from _address(where, backend)
        yield from _access(where, backend)
        yield from _fleet(f"{where}.fleet", backend.fleet)
        if not (backend.affinity == 0 or 1 <= backend.affinity <= MOST_AFFINITY):
            yield f"{where}.affinity is {backend.affinity:g}: it must be 1 to {MOST_AFFINITY}, or 0 for none."


def _address(where: str, backend: Backend) -> Iterator[str]:
    given = [name for name in ("replicas", "dns", "url") if getattr(backend, name)]
    if not given:
        yield f"{where}.replicas is empty: name at least one base URL, or dns, or the url of an endpoint."
    elif len(given) > 1:
        yield f"{where} has {' and '.join(given)}: it is reached by one of them."
    for url in backend.replicas:
        if "@" in url:
            yield f"{where}.replicas: a base URL has no user and no password in it."
        elif not url.startswith(("http://", "https://")) or url.rstrip("/").count("/") != 2:
            yield f"{where}.replicas: {url!r} is not a base URL like http://host:port."
    if backend.dns:
        found = DNS.fullmatch(backend.dns)
        if not (found and 0 < int(found[2]) <= 65_535):
            yield f"{where}.dns is {backend.dns!r}: name a host and a port, like engines.pool.svc:8000."
    if backend.url and not _is_endpoint(backend.url):
        yield (
            f"{where}.url is not an address like https://host/v1: it begins with https://, and has no user, "
            "no question mark and no /chat/completions in it."
        )


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in HERE)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    bare = not (parts.query or parts.fragment or "@" in parts.netloc or "?" in url or "#" in url)
    plain = url.isascii() and url.isprintable() and " " not in url
    return secure and whole and bare and plain and not url.rstrip("/").endswith("/chat/completions")


def _access(where: str, backend: Backend) -> Iterator[str]:
    given = [name for name in ("api_key", "auth") if getattr(backend, name)]
    if given and not backend.url:
        yield f"{where}.{given[0]} is for the url of a hosted endpoint; engines of the pool are sent no key."
    if len(given) == 2:
        yield f"{where} has api_key and auth: leave one of them out."
    if backend.kind == "gemini" and not given:
        yield f"{where} needs api_key: {{env: GEMINI_API_KEY}}, or auth: google."
    if backend.kind == "gemini" and not backend.url:
        yield f"{where}.kind is gemini, which is reached by a url."
    if backend.api_key is not None:
        yield from _secret(f"{where}.api_key", backend.api_key)


def _secret(where: str, secret: Secret) -> Iterator[str]:
    if bool(secret.env) == bool(secret.file):
        yield f"{where} says where the key lies by one of {{env: NAME}} and {{file: PATH}}."
    elif secret.env and not VARIABLE.fullmatch(secret.env):
        yield f"{where}.env is not the name of an environment variable, such as GEMINI_API_KEY."
    elif secret.file and not (secret.file.startswith("/") and secret.file.isprintable()):
        yield f"{where}.file is not the whole path of a file, such as /run/secrets/gemini."


def _fleet(where: str, fleet: Fleet) -> Iterator[str]:
    if fleet.min < 0:
        yield f"{where}.min is {fleet.min}: no fleet has fewer than 0 replicas."
    if not max(fleet.min, 1) <= fleet.max <= MOST_REPLICAS:
        least = "1" if fleet.min <= 1 else f"{fleet.min} (min)"
        yield f"{where}.max is {fleet.max}: it must be at least {least} and at most {MOST_REPLICAS}."
    if not 1 <= fleet.slots <= MOST_SLOTS:
        yield f"{where}.slots is {fleet.slots}: a replica has 1 to {MOST_SLOTS} slots."
    yield from _outside(f"{where}.boot_s", fleet.boot_s, 0, LONGEST_BOOT_S, " seconds")


# --- models


def _models(config: Config) -> Iterator[str]:
    for name, model in config.models.items():
        where = f"models.{name}"
        yield from _served(where, model, config)
        yield from _figures(where, model)
        for task in model.tasks:
            if not TASK_NAME.fullmatch(task):
                yield f"{where}.tasks: {task!r} is not 1 to 40 lower-case letters, digits, - and _."
        for other in model.fallback:
            if other not in config.models and other not in config.aliases:
                yield f"{where}.fallback names {other!r}, which is no model{_near(other, config.models)}."


def _served(where: str, model: Model, config: Config) -> Iterator[str]:
    if bool(model.backend) == bool(model.backends):
        yield f"{where} needs one of backend: NAME and, for several with weights, backends."
        return
    if model.backends and model.served_as:
        yield f"{where}.served_as is for a single backend: say it within each of backends."
    if model.backends and model.cost:
        yield f"{where}.cost is for a single backend: say it within each of backends."
    field = "backends" if model.backends else "backend"
    for candidate in model.candidates:
        yield from _candidate(f"{where}.{field}", candidate, config)
    names = [candidate.backend for candidate in model.candidates]
    if len(set(names)) < len(names):
        yield f"{where}.backends names a backend twice: give it one weight."


def _candidate(where: str, candidate: Candidate, config: Config) -> Iterator[str]:
    if candidate.backend not in config.backends:
        near = _near(candidate.backend, config.backends)
        yield f"{where} names {candidate.backend!r}, which is not under backends{near}."
    yield from _outside(f"{where}: weight", candidate.weight, 0, HEAVIEST, "")
    if candidate.cost is not None:
        for name in ("input", "output"):
            yield from _outside(f"{where}: cost.{name}", getattr(candidate.cost, name), 0, DEAREST, " USD")


def _figures(where: str, model: Model) -> Iterator[str]:
    yield from _outside(f"{where}.weight", model.weight, 0, HEAVIEST, "")
    yield from _outside(f"{where}.context", model.context, 0, math.inf, " tokens")
    yield from _outside(f"{where}.batch_size", model.batch_size, 1, MOST_SLOTS, " calls")
    yield from _outside(f"{where}.concurrency", model.concurrency, 1, MOST_CALLS, " calls")
    if model.cache_ttl_s is not None and not 1 <= model.cache_ttl_s <= LONGEST_TTL_S:
        yield f"{where}.cache_ttl_s is {model.cache_ttl_s}: it must be 1 to {LONGEST_TTL_S} seconds."
    for name in model.deadlines.__struct_fields__:
        value = getattr(model.deadlines, name)
        yield from _outside(f"{where}.deadlines.{name}", value, 0.1, LONGEST_DEADLINE_S, " seconds")


# --- chains


def _chains(config: Config) -> Iterator[str]:
    """Asked once all names are known to lead somewhere."""
    aliases = {name: (target,) for name, target in config.aliases.items()}
    circle = _circle(aliases)
    if circle:
        yield f"aliases go in a circle ({' -> '.join(circle)}): one of them has to name a model."
        return
    fallbacks = {name: tuple(map(config.model_of, row.fallback)) for name, row in config.models.items()}
    circle = _circle(fallbacks)
    if circle:
        yield f"fallback goes in a circle ({' -> '.join(circle)}): leave one of these steps out."
        return
    for name in fallbacks:
        if len(_reached(name, fallbacks)) > LONGEST_CHAIN:
            most = f"{LONGEST_CHAIN} models: {LONGEST_CHAIN} are the most"
            yield f"models.{name}.fallback leads on to more than {most}."


def _reached(name: str, steps: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Where a name's steps lead, and theirs, until there are too many."""
    order: list[str] = list(dict.fromkeys(steps[name]))
    for one in order:
        if len(order) > LONGEST_CHAIN:
            break
        order += [other for other in dict.fromkeys(steps[one]) if other not in order]
    return order


def _circle(steps: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The names along one circle, the first again at its end; none where there is no circle."""
    done: set[str] = set()
    for start in steps:
        path, branches = [start], [iter(steps[start])]
        while path:
            following = next(branches[-1], None)
            if following is None:
                done.add(path.pop())
                branches.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following not in done:
                path.append(following)
                branches.append(iter(steps.get(following, ())))
    return []
