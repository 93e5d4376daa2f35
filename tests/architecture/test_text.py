"""What is written in the repository holds on every machine."""

import re

from tests.architecture.source import shown, written_files

# Each is put together from parts, or this file would be found too.
PLACES = re.compile(rf"(?<![\w/.:~$}}-])/(?:{'|'.join(('work', 'root'))})(?![\w-])|/tmp/{'bash'}")
REGISTRIES = re.compile(
    "|".join(
        r"\.".join(parts)
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("proxy", "golang", "org"),
            ("deb", "debian", "org"),
            ("repo1", "maven", "org"),
        )
    )
)


def found(pattern: re.Pattern[str]) -> list[str]:
    places = []
    for path in written_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        places += [f"{shown(path)}: {match.group()}" for match in pattern.finditer(text)]
    return places


def test_no_file_names_a_place_on_one_machine() -> None:
    assert [] == found(PLACES)


def test_no_file_names_a_package_registry() -> None:
    # Packages come from the index that each machine is set up for.
    assert [] == found(REGISTRIES)


def test_the_patterns_find_what_they_are_for() -> None:
    assert PLACES.search(f"cd /{'work'}/main")
    assert PLACES.search(f'"/{"root"}"')
    assert not PLACES.search("/v1/workers, ./work/x, https://host/root, /workspace")


def test_files_in_hidden_folders_of_ours_are_looked_at() -> None:
    assert {"penstock", ".ci/run"} <= {shown(path) for path in written_files()}
