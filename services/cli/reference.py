"""Writes `docs/settings.md`: every setting, with its meaning, unit, default and bounds."""

from services.cli.commands.up import command as up
from services.runtime.settings import SECRET, Setting, described

PATH = "docs/settings.md"

_INTRODUCTION = """# Settings

<!-- Made by `python -m services.cli.export` from `services/runtime/settings.py`. Change it there. -->

Every setting of `penstock up` is an environment variable; some are options too, and an option wins. They are
read once, at the start. A variable that is empty counts as unset. A value that is out of bounds stops the
start with a sentence that names it. `PENSTOCK_LOG_LEVEL=info` logs the settings in force, without secrets.

Three pairs belong together: a body may be no larger than what all bodies may hold, a claim is renewed at
least twice within its lease, and progress is recorded at least twice before an attempt counts as silent.
"""

_COMMANDS = """
## What the other commands read

| variable | meaning |
| --- | --- |
| `PENSTOCK_DATA_DIR` | The data folder of the platform to speak to; `--data-dir` wins. |
| `PENSTOCK_URL` | Its base URL, where it runs elsewhere; its keys then come from the next two. |
| `PENSTOCK_API_KEY` | The key to chat and to read answers with, instead of the one in the data folder. |
| `PENSTOCK_ADMIN_KEY` | The operators' key, instead of the one in the data folder. |
"""


def settings_reference() -> str:
    """The text of `docs/settings.md`."""
    head = "| variable | meaning | unit | default | allowed |\n| --- | --- | --- | --- | --- |\n"
    return f"{_INTRODUCTION}\n{head}{''.join(map(_row, described()))}{_COMMANDS}"


def _row(setting: Setting) -> str:
    options = [param.opts[0] for param in up.params if param.name == setting.name]
    name = " ".join(f"`{name}`" for name in (setting.variable, *options))
    meaning = setting.meaning + (" A secret: never logged." if setting.name in SECRET else "")
    allowed = str(setting.allowed).removeprefix("a ")
    return f"| {name} | {meaning} | {_unit(setting)} | {_default(setting)} | {allowed} |\n"


def _unit(setting: Setting) -> str:
    return next((unit for end, unit in (("_s", "s"), ("_bytes", "bytes")) if setting.name.endswith(end)), "")


def _default(setting: Setting) -> str:
    if setting.name == "data_dir":
        return "`~/.local/share/penstock`"
    if setting.default is None:
        return "unset"
    return f"`{setting.default:g}`" if isinstance(setting.default, float) else f"`{setting.default}`"
