"""What a process is without that a backend of the configuration needs."""

from events.config import Backend, Config
from events.words import Record


class Here(Record):
    """What there is in a process: the `variables` that are set, the `files` that can be read, whether it has
    `google` credentials.
    """

    variables: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    google: bool = False


def lacking(config: Config, here: Here) -> dict[str, str]:
    """What is missing, by backend, to be read behind "needs"; a backend that lacks nothing is not named."""
    found = {name: _lacks(backend, here) for name, backend in config.backends.items()}
    return {name: lacks for name, lacks in found.items() if lacks}


def _lacks(backend: Backend, here: Here) -> str:
    key = backend.api_key
    if key is not None and key.env and key.env not in here.variables:
        return f"{key.env}, which is not set here"
    if key is not None and key.file and key.file not in here.files:
        return f"the file {key.file}, which cannot be read here"
    if backend.auth == "google" and not here.google:
        return "Google's credentials, which are not found here: set GOOGLE_APPLICATION_CREDENTIALS"
    return ""
