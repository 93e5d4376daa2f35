"""Backups asked for on a platform whose Firestore is the emulator, which exports nothing."""

import pytest

from tests.cloud.topology.platform import Platform

pytestmark = pytest.mark.slow


def test_a_platform_without_a_bucket_says_what_to_set(platform: Platform) -> None:
    ran = platform.penstock("backup", "run")
    listed = platform.penstock("backup", "list")

    assert (1, 1) == (ran.code, listed.code)
    assert "PENSTOCK_BACKUP_BUCKET is not set" in ran.sentence
    assert "PENSTOCK_BACKUP_BUCKET is not set" in listed.sentence
