"""`penstock up --json` with a guard that lets everything pass: its settings come from the environment."""

import os

from services.cli.commands.up import run, serve
from services.runtime.local import LocalPlatform
from services.runtime.logs import set_up_logs
from services.runtime.settings import read_settings
from tests.support.guards import Passing, TestGuard

if __name__ == "__main__":
    settings = read_settings({})
    set_up_logs(settings.log_level)
    os.umask(0o077)
    run(serve(LocalPlatform(settings, guard=TestGuard(watch=Passing)), settings, as_json=True))
