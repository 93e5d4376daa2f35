"""`penstock config`: what needs no platform in this process, the rest against a running one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from events.config_reading import Unfit
from events.words import PenstockError
from services.cli.main import penstock
from tests.services.cli.conftest import Command
from tests.support.command import up
from tests.support.platform import Running

GOOD = {"backends": {"pool": {"replicas": ["http://127.0.0.1:1"]}}, "models": {"gemma": {"backend": "pool"}}}


def invoked(*arguments: str) -> Result:
    return CliRunner().invoke(penstock, ["config", *arguments], prog_name="penstock")


def told(result: Result) -> str:
    assert isinstance(result.exception, PenstockError), (result.exception, result.output)
    return str(result.exception)


def written(folder: Path, content: object = GOOD) -> str:
    path = folder / "penstock.yaml"
    path.write_text(json.dumps(content))
    return str(path)


def test_a_first_document_is_written_commented_and_valid(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    made = invoked("init", str(path))

    assert 0 == made.exit_code
    assert f"penstock config validate {path}" in made.output
    assert path.read_text().startswith("# yaml-language-server: $schema=")
    assert "CHECK THE NAMES" in path.read_text()
    assert 0 == invoked("validate", str(path)).exit_code


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = Path(written(tmp_path))
    before = path.read_text()

    assert "is there already; replace it with --force" in told(invoked("init", str(path)))
    assert before == path.read_text()
    assert 0 == invoked("init", str(path), "--force").exit_code
    assert before != path.read_text()


def test_where_nothing_can_be_written_that_is_told(tmp_path: Path) -> None:
    assert "cannot be written: No such file" in told(invoked("init", str(tmp_path / "a" / "b.yaml")))


def test_a_document_is_judged_without_a_platform(tmp_path: Path) -> None:
    good, path = written(tmp_path), tmp_path / "wrong.yaml"
    path.write_text("backends: {pool: {replicas: [http://a:1]}}\nmodels: {m: {backend: pol}}\n")

    assert f"{good} is valid. Models: gemma.\n" == invoked("validate", good).output
    assert {"valid": True, "models": ["gemma"], "names": ["gemma"]} == json.loads(
        invoked("validate", good, "--json").output
    )
    wrong = invoked("validate", str(path))
    assert isinstance(wrong.exception, Unfit)
    assert told(wrong).startswith(f"{path}: models.m.backend names 'pol'")
    shown = invoked("validate", str(path), "--json")
    assert (1, False) == (shown.exit_code, json.loads(shown.output)["valid"])
    assert ["models.m.backend" in one for one in json.loads(shown.output)["mistakes"]] == [True]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in told(invoked("validate", str(tmp_path / "nothing.yaml")))
    shown = invoked("validate", str(tmp_path / "nothing.yaml"), "--json")
    assert (1, 1) == (shown.exit_code, len(json.loads(shown.output)["mistakes"]))


def test_the_schema_is_printed_for_editors() -> None:
    assert "urn:penstock:config" == json.loads(invoked("schema").output)["$id"]


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_platform_with_a_file_shows_it_and_takes_no_other(
    platform: Running, command: Command, tmp_path: Path
) -> None:
    path = written(tmp_path)
    shown = await command("config", "show")
    compared = await command("config", "diff", path)
    strict = await command("config", "diff", path, "--exit-code", "--json")
    same = await command("config", "diff", str(tmp_path / "rehearsal.yaml"), "--exit-code")
    refused = await command("config", "apply", path)

    assert shown.out.startswith("# not applied; from ")
    assert "rehearsal: true" in shown.out
    assert 0 == compared.code
    assert "-  rehearsal:" in compared.out
    assert "+  pool:" in compared.out
    assert (1, True) == (strict.code, strict.json["differs"])
    assert "is what the platform serves (not applied)." in same.out
    assert "PENSTOCK_CONFIG" in refused.sentence


@pytest.mark.slow
def test_a_document_is_applied_and_holds_after_the_next_start(tmp_path: Path) -> None:
    path = written(tmp_path)
    where = {"PENSTOCK_DATA_DIR": str(tmp_path / "data")}
    from tests.support.command import penstock as run  # noqa: PLC0415  (beside the group of the same name)

    with up(tmp_path / "data"):
        first = run("config", "apply", path, **where)
        late = run("config", "apply", path, "--after", "0", **where)
        second = run("config", "apply", path, "--after", "1", "--json", **where)
        (tmp_path / "wrong.yaml").write_text("models: {}")
        wrong = run("config", "apply", str(tmp_path / "wrong.yaml"), **where)
        shown = run("config", "show", "--json", **where)

    assert "Version 1 of the configuration is served.\n" == first.out
    assert "The newest version of the configuration is 1, not 0." == late.sentence
    assert (2, ["gemma"]) == (second.json["applied"], list(shown.json["document"]["models"]))
    assert "backends" in wrong.sentence
    with up(tmp_path / "data") as again:
        assert ["gemma"] == list(run("config", "show", "--json", **where).json["document"]["models"])
        assert ["gemma"] == again.first_line["models"]
