"""The Firestore adapters need Google's packages, an emulator, and a Java to run it."""

import pytest

from tests.cloud import emulators
from tests.contracts.adapters import Clock

# Without the packages these modules cannot be imported; the contract suites say what is missing.
collect_ignore_glob = [] if emulators.missing(emulators.FIRESTORE) is None else ["test_*.py"]


@pytest.fixture
def clock() -> Clock:
    return Clock()
