"""Logs to standard error, a line each; never a prompt, never a key."""

import logging

from events.words import Invalid

LEVELS = ("debug", "info", "warning", "error", "critical")


def set_up_logs(level: str) -> None:
    """Sends everything from `level` up to standard error. Raises `Invalid` for a level unknown."""
    if level.lower() not in LEVELS:
        raise Invalid(f"PENSTOCK_LOG_LEVEL is {level!r}; use one of {', '.join(LEVELS)}.")
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
