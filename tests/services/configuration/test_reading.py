from importlib.resources import files
from pathlib import Path

import pytest

from events.config_reading import LARGEST, Unfit
from events.words import Invalid
from services.configuration.reading import config_in, read_document

WRONG = {
    "a key twice": (b"models: {a: 1, b: 2, a: 3}", "'a' stands there twice, the second time in line 1"),
    "a key twice by far": (
        b"a:\n  b: 1\n  c: 2\n  b: 3\n",
        "'b' stands there twice, the second time in line 4",
    ),
    "too much": (b"a" * (LARGEST + 1), "larger than 921600 bytes"),
    "a list as a key": (b"? [a]\n: b", "is not YAML"),
    "an object": (b"!!python/object:os.system {}", "is not YAML"),
}


@pytest.mark.parametrize(("content", "told"), WRONG.values(), ids=WRONG)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_bytes(content)
    with pytest.raises(Invalid, match=told):
        read_document(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read: Is a directory"):
        read_document(tmp_path)


def test_a_byte_order_mark_and_merges_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("\ufeffa: &one {x: 1}\nb: {<<: *one, y: 2}\n", encoding="utf-8")

    assert {"a": {"x": 1}, "b": {"x": 1, "y": 2}} == read_document(path)


def test_mistakes_are_told_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match=r"^penstock\.yaml: "):
        config_in({"modles": {}}, Path("penstock.yaml"))
    with pytest.raises(Unfit, match="has no models"):
        config_in({"backends": {}, "models": {}}, Path("penstock.yaml"))


def test_the_document_we_ship_is_valid_and_paced() -> None:
    path = Path(str(files("services.configuration").joinpath("default.yaml")))
    config = config_in(read_document(path), path)
    paces = {
        name: (row.batch_size, row.concurrency, row.deadlines.first_byte_s, row.cache_ttl_s)
        for name, row in config.models.items()
        if row.backend == "gemini"
    }

    assert {
        "gemini-flash": (16, 100, 5.0, 1800),
        "gemini-pro": (4, 20, 30.0, 7200),
        "gemini-vision": (2, 10, 60.0, 3600),
        "gemini-code": (4, 15, 45.0, 10_800),
    } == paces
    assert {"pool"} == {backend for backend, row in config.backends.items() if not row.leaves}
    assert {"gemma-3-4b-it", "task:flash", "task:pro", "task:vision", "task:code", "code"} <= set(
        config.plans
    )
