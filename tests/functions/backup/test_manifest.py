from datetime import timedelta, timezone

import pytest

from events.words import Invalid
from functions.backup.manifest import (
    Books,
    Contents,
    File,
    Manifest,
    backup_id,
    decode,
    digest,
    encode,
    sealed,
    unsealed,
)
from tests.functions.backup.archives import NOON

MANIFEST = Manifest(
    backup_id="20270301T120000Z-00000000",
    kind="data",
    taken_at=NOON,
    release="0.1.0",
    file=File(name="data.db.gz", bytes=7, sha256="ab"),
    contents=Contents(
        schema=1,
        rows={"keys": 2},
        books=Books(requests=1, input=2, output=3, cached=4, reasoning=5, estimated=6),
    ),
)


def test_a_manifest_comes_back_with_its_seal_and_to_the_byte() -> None:
    body = encode(MANIFEST)
    found, seal = unsealed(sealed(body, b"\x00seal"))

    assert (body, b"\x00seal") == (found, seal)
    assert MANIFEST == decode(found)


def test_one_other_byte_is_another_digest() -> None:
    body = encode(MANIFEST)
    assert 32 == len(digest(body))
    assert digest(body) != digest(body.replace(b"0.1.0", b"0.1.1"))


@pytest.mark.parametrize(
    "document",
    [b"", b"null", b"{}", b'{"manifest": {}, "seal": "no hex"}', b'{"manifest":', b"\xff", b"[" * 9999],
)
def test_what_is_no_manifest_is_refused(document: bytes) -> None:
    with pytest.raises(Invalid, match="not a manifest"):
        unsealed(document)


@pytest.mark.parametrize("body", [b"{}", b"7", b'{"format": "one"}'])
def test_what_lacks_its_fields_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="not a manifest"):
        decode(body)


def test_one_of_a_newer_form_is_refused_with_its_release_also_if_it_has_nothing_we_know() -> None:
    with pytest.raises(Invalid, match=r"newer release of Penstock \(9\.1\)"):
        decode(b'{"format": 2, "release": "9.1", "where": "elsewhere"}')


def test_a_backup_has_one_name_however_often_its_event_comes_and_names_sort_by_time() -> None:
    first, again, other = backup_id("e1", NOON), backup_id("e1", NOON), backup_id("e2", NOON)
    later = backup_id("e1", NOON + timedelta(milliseconds=1))

    assert first == again
    assert first != other
    assert first[:20] == "20270301T120000.000Z"
    assert max(first, other) < later
    assert first == backup_id("e1", NOON.astimezone(timezone(timedelta(hours=5))))
