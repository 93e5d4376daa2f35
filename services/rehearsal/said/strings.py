"""Made-up strings: of a format, by a pattern, as long as they should be."""

from collections.abc import Mapping
from random import Random
from typing import Any
from uuid import UUID

from events.words import Invalid
from services.rehearsal.said import pattern

MOST_CHARACTERS = 10_000
WORDS = (
    "penstock",
    "sluice",
    "turbine",
    "heron",
    "gate",
    "weir",
    "river",
    "alder",
    "valve",
    "lake",
    "valley",
    "snow",
)


def string(schema: Mapping[str, Any], dice: Random) -> str:
    """One that is an instance of the schema, if it is simple. Raises `Invalid` where it is too long."""
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if least > MOST_CHARACTERS:
        raise Invalid(f"The schema wants {least} characters; this engine makes up {MOST_CHARACTERS} at most.")
    if "pattern" in schema:
        return _by_pattern(schema["pattern"], least, most, dice)
    made = _formatted(schema.get("format"), dice)
    if made is not None:
        return made
    text = f"made-up {dice.choice(WORDS)}"
    while len(text) < least:
        text += f" {dice.choice(WORDS)}"
    return text if most is None else text[:most].rstrip().ljust(least, "x")


def _by_pattern(expression: str, least: int, most: int | None, dice: Random) -> str:
    node = pattern.parse(expression)
    text = ""
    for extra in (1, 0, 2, 4, 8, 16, 32, 64, least):
        if pattern.longest(node, extra) > 2 * MOST_CHARACTERS:
            continue
        text = pattern.example(node, dice, extra)
        if len(text) >= least and (most is None or len(text) <= most):
            return text
    return text.ljust(least, "x")  # where it need not end with the match, that does


def _formatted(name: object, dice: Random) -> str | None:
    day = f"20{dice.randint(10, 39)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
    time = f"{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:{dice.randint(0, 59):02}Z"
    word = dice.choice(WORDS)
    made = {
        "date-time": f"{day}T{time}",
        "date": day,
        "time": time,
        "duration": f"PT{dice.randint(1, 59)}M",
        "email": f"{word}@example.com",
        "idn-email": f"{word}@example.com",
        "hostname": f"{word}.example.com",
        "idn-hostname": f"{word}.example.com",
        "ipv4": f"192.0.2.{dice.randint(1, 254)}",
        "ipv6": f"2001:db8::{dice.randint(1, 9999):x}",
        "uuid": str(UUID(int=dice.getrandbits(128), version=4)),
        "uri": f"https://example.com/{word}",
        "uri-reference": f"/{word}",
        "iri": f"https://example.com/{word}",
        "iri-reference": f"/{word}",
        "uri-template": f"/{word}/{{id}}",
        "json-pointer": f"/{word}",
        "relative-json-pointer": f"0/{word}",
        "regex": f"^{word}$",
    }
    return made.get(name) if isinstance(name, str) else None
