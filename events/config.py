"""The configuration document: which models exist, and where each is served."""

import msgspec

from events.words import Invalid, Record

MOST_REPLICAS = 1000
MOST_SLOTS = 4096
LONGEST_BOOT_S = 3600
LONGEST_TTL_S = 7 * 86_400


class Fleet(Record, forbid_unknown_fields=True):
    """What the advice on a backend's replicas goes by.

    `min` and `max` bound how many there should be. `slots`: how many sequences one replica decodes at a
    time. `boot_s`: how long a new one takes until it serves.
    """

    min: int = 1
    max: int = 5
    slots: int = 4
    boot_s: float = 150.0


class Backend(Record, forbid_unknown_fields=True):
    """Where models are served: engines that speak the OpenAI wire, all holding the same models.

    `replicas` are base URLs such as `http://10.0.0.5:8000`; `/v1/...` is appended. A `rehearsal`
    backend answers with made-up text, and says so in a response header.
    """

    replicas: tuple[str, ...]
    rehearsal: bool = False
    fleet: Fleet = Fleet()


class Model(Record, forbid_unknown_fields=True):
    """A name callers use, the backend that serves it and the name it has there.

    `context` is the most tokens a prompt may have, where known. For tenants that turned caching on:
    `cache_ttl_s` is how long an answer may be given again, an hour unless told; `version` is any text, and
    with another one no answer from before is given any more.
    """

    backend: str
    served_as: str = ""
    context: int | None = None
    version: str = ""
    cache_ttl_s: int | None = None


class Config(Record, forbid_unknown_fields=True):
    """One immutable, validated version of the document."""

    backends: dict[str, Backend]
    models: dict[str, Model]
    version: int = 1

    def served_name(self, model: str) -> str:
        """The name the model's engines know it by."""
        return self.models[model].served_as or model


def read(document: object) -> Config:
    """A `Config` from plain data (parsed YAML or JSON); raises `Invalid` naming the field at fault."""
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise Invalid(f"The configuration document is not valid: {error}.") from error
    for name, model in config.models.items():
        if model.backend not in config.backends:
            raise Invalid(f"models.{name}.backend names {model.backend!r}, which is not under backends.")
        if model.cache_ttl_s is not None and not 1 <= model.cache_ttl_s <= LONGEST_TTL_S:
            raise Invalid(
                f"models.{name}.cache_ttl_s is {model.cache_ttl_s}: it must be 1 to {LONGEST_TTL_S} seconds."
            )
    for name, backend in config.backends.items():
        if not backend.replicas:
            raise Invalid(f"backends.{name}.replicas is empty: name at least one base URL.")
        for url in backend.replicas:
            if not url.startswith("http://") or url.rstrip("/").count("/") != 2:
                raise Invalid(f"backends.{name}.replicas: {url!r} is not a base URL like http://host:port.")
        _check_fleet(f"backends.{name}.fleet", backend.fleet)
    return config


def _check_fleet(where: str, fleet: Fleet) -> None:
    if fleet.min < 0:
        raise Invalid(f"{where}.min is {fleet.min}: no fleet has fewer than 0 replicas.")
    if not max(fleet.min, 1) <= fleet.max <= MOST_REPLICAS:
        least = "1" if fleet.min <= 1 else f"{fleet.min} (min)"
        raise Invalid(f"{where}.max is {fleet.max}: it must be at least {least} and at most {MOST_REPLICAS}.")
    if not 1 <= fleet.slots <= MOST_SLOTS:
        raise Invalid(f"{where}.slots is {fleet.slots}: a replica has 1 to {MOST_SLOTS} slots.")
    if not 0 <= fleet.boot_s <= LONGEST_BOOT_S:  # also where it is no number at all
        raise Invalid(f"{where}.boot_s is {fleet.boot_s:g}: it must be 0 to {LONGEST_BOOT_S} seconds.")
