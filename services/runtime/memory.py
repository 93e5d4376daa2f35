"""How the garbage collector treats a process that serves."""

import gc

YOUNG = 20_000  # objects made before it looks; a request makes a few dozen, and hardly any outlive it


def settle() -> None:
    """Called once everything is up: what is there now stays, so it is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)
