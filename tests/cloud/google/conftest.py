"""These need Google's library."""

from importlib.metadata import PackageNotFoundError, distribution


def installed() -> bool:
    try:
        distribution("google-auth")
    except PackageNotFoundError:
        return False
    return True


collect_ignore = [] if installed() else ["test_tokens.py"]
