"""How many examples are tried of a property that costs more than others."""

from hypothesis import settings


def at_most(examples: int) -> settings:
    """As many as of any property, but no more than these."""
    return settings(max_examples=min(examples, settings().max_examples))
