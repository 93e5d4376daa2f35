from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from functions.backup.manifest import Archive
from functions.backup.retention import Keep, superfluous
from tests.functions.backup.archives import DAY, HOUR, NOON, archive

KEEP = Keep(last=3, days=7)


def left(archives: list[Archive], keep: Keep = KEEP) -> list[Archive]:
    gone = superfluous(archives, keep, NOON)
    return [one for one in archives if one not in gone]


def test_the_newest_are_kept() -> None:
    archives = [archive(hours * HOUR) for hours in (0, 1, 2, 3, 4)]  # one day
    assert archives[:3] == left(archives)


def test_of_every_day_the_last_one_is_kept() -> None:
    today, yesterday = [archive(h * HOUR) for h in (0, 1, 2)], [archive(DAY + h * HOUR) for h in (0, 1, 13)]
    before = yesterday.pop()  # 13 hours before noon is another day
    assert [*today, yesterday[0], before] == left([*today, *yesterday, before])


def test_what_is_too_old_goes() -> None:
    archives = [archive(7 * DAY), archive(7 * DAY + HOUR), archive(0 * HOUR)]
    assert [archives[0], archives[2]] == left(archives)


def test_the_newest_stays_however_old_it_is() -> None:
    archives = [archive(90 * DAY), archive(80 * DAY)]
    assert archives[1:] == left(archives)


def test_the_newest_that_was_verified_stays_however_old_it_is() -> None:
    archives = [archive(90 * DAY, verified_at=NOON), archive(80 * DAY, verified_at=NOON), archive(DAY)]
    assert archives[1:] == left(archives)


def test_of_data_keys_none_is_kept_for_having_been_verified() -> None:
    archives = [archive(80 * DAY, verified_at=NOON), archive(DAY)]
    assert archives[1:] == left(archives, replace(KEEP, verified=False))


def test_what_goes_is_told_oldest_first() -> None:
    archives = [archive(days * DAY) for days in (8, 10, 9, 0)]
    assert [archives[1], archives[2], archives[0]] == superfluous(archives, KEEP, NOON)


AGES = st.lists(st.integers(0, 40 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes)), unique=True)


@given(ages=AGES, verified=st.sets(st.integers(0, 20)), last=st.integers(1, 5), days=st.integers(1, 40))
def test_whatever_there_is_a_backup_stays_and_a_second_look_takes_no_more(
    ages: list[timedelta], verified: set[int], last: int, days: int
) -> None:
    keep = Keep(last=last, days=days)
    archives = [
        archive(age, verified_at=NOON if number in verified else None) for number, age in enumerate(ages)
    ]
    kept = left(archives, keep)

    assert kept == left(kept, keep)
    assert len(kept) <= last + days + 2
    newest = max(archives, key=lambda one: one.taken_at, default=None)
    proven = max((one for one in archives if one.verified_at), key=lambda one: one.taken_at, default=None)
    assert {newest, proven} - {None} <= set(kept)
