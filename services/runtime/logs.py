"""Logs to standard error, a line each; never a prompt, never a key."""

import logging
import os

import msgspec

from events.words import Invalid

LEVELS = ("debug", "info", "warning", "error", "critical")


class JsonLines(logging.Formatter):
    """Records as Cloud Logging reads them: Python's levels are its severities."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, with the traceback in its message."""
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        seconds, fraction = divmod(record.created, 1)
        line = {
            "severity": record.levelname,
            "message": message,
            "timestamp": {"seconds": int(seconds), "nanos": int(fraction * 10**9)},
            "logger": record.name,
        }
        return msgspec.json.encode(line).decode()


def in_json(wished: str | None, project: str) -> bool:
    """Whether logs are JSON: as it is said, else where a project of Google's is known."""
    return wished == "json" if wished else bool(project)


def set_up_logs(level: str, form: str | None = None) -> None:
    """Sends everything from `level` up to standard error. Raises `Invalid` for a level unknown."""
    if level.lower() not in LEVELS:
        raise Invalid(f"PENSTOCK_LOG_LEVEL is {level!r}; use one of {', '.join(LEVELS)}.")
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    if in_json(form, os.environ.get("GOOGLE_CLOUD_PROJECT", "")):
        logging.getLogger().handlers[0].setFormatter(JsonLines())
