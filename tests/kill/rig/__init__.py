"""Real processes under load, and the means to kill them at a chosen moment, all from outside."""
