"""A configuration document in a YAML file, for whoever has one in hand."""

from collections.abc import Hashable
from pathlib import Path

import yaml

from events.config import Config
from events.config_reading import LARGEST, Unfit, read
from events.words import Invalid


class _Loader(yaml.SafeLoader):
    """Refuses what YAML says twice, of which the first would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"{key.value!r} stands there twice, the second time in line {line}")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_document(path: Path) -> object:
    """The plain data in a YAML (or JSON) file. Raises `Invalid` where it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Invalid(
                f"{path} is larger than {LARGEST} bytes, the most a configuration document may have."
            )
        return yaml.load(content.decode("utf-8-sig"), _Loader)  # noqa: S506  (it is a safe one)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8 text.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise Invalid(f"{path} is not YAML: {told}.") from error


def config_in(document: object, path: Path) -> Config:
    """The document in a file, once it is valid. Raises `Unfit` naming the file and every mistake."""
    try:
        config = read(document)
    except Unfit as error:
        raise Unfit([f"{path}: {error.mistakes[0]}", *error.mistakes[1:]]) from error
    if not config.models:
        raise Unfit([f"{path} has no models: name at least one model."])
    return config
