"""The configuration document: which models exist, and where each is served."""

import msgspec

from events.words import Invalid, Record


class Backend(Record, forbid_unknown_fields=True):
    """Where models are served: engines that speak the OpenAI wire, all holding the same models.

    `replicas` are base URLs such as `http://10.0.0.5:8000`; `/v1/...` is appended. A `rehearsal`
    backend answers with made-up text, and says so in a response header.
    """

    replicas: tuple[str, ...]
    rehearsal: bool = False


class Model(Record, forbid_unknown_fields=True):
    """A name callers use, the backend that serves it and the name it has there.

    `context` is the most tokens a prompt may have, where known.
    """

    backend: str
    served_as: str = ""
    context: int | None = None


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
    for name, backend in config.backends.items():
        if not backend.replicas:
            raise Invalid(f"backends.{name}.replicas is empty: name at least one base URL.")
        for url in backend.replicas:
            if not url.startswith("http://") or url.rstrip("/").count("/") != 2:
                raise Invalid(f"backends.{name}.replicas: {url!r} is not a base URL like http://host:port.")
    return config
