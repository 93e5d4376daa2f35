"""`response_format`: plain text, any JSON object, or an instance of a schema."""

from typing import Any, Literal

import msgspec

from events.words import Invalid
from services.rehearsal.asked.checks import UnfitError
from services.rehearsal.said.prose import NOTICE
from services.rehearsal.said.schema_instance import instance


class NamedSchema(msgspec.Struct, frozen=True):
    """OpenAI's `json_schema`; the instance is always valid, `strict` or not."""

    name: str = ""
    schema: dict[str, Any] | bool = True
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """OpenAI's `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


def check_format(asked: ResponseFormat) -> None:
    """Raises `UnfitError` where the schema is missing."""
    if asked.type == "json_schema" and asked.json_schema is None:
        raise UnfitError("Send the schema in response_format.json_schema.", "response_format.json_schema")


def text(asked: ResponseFormat, echo: str, dice: bytes) -> str:
    """The JSON that answers. Raises `UnfitError` where no instance of the schema can be made up."""
    if asked.json_schema is None:
        return msgspec.json.encode({"notice": NOTICE, "you_said": echo}).decode()
    try:
        return msgspec.json.encode(instance(asked.json_schema.schema, dice)).decode()
    except Invalid as error:
        raise UnfitError(str(error), "response_format.json_schema.schema") from error
