"""The first configuration document of a deployment, written before there is a platform."""

import asyncio
from pathlib import Path

import pytest

from events.config import Config
from services.adapters.firestore import database as firestore
from services.adapters.firestore.config_documents import FirestoreConfigDocuments
from services.configuration.feed import ConfigFeed
from services.runtime.process import utc_now
from tests.cloud import emulators
from tests.support.command import Ended, penstock

pytestmark = pytest.mark.slow

DOCUMENT = 'backends: {pool: {replicas: ["http://10.0.0.5:8000"]}}\nmodels: {gemma: {backend: pool}}\n'


def apply(file: Path, project: str, *more: str) -> Ended:
    where = ("--project", project, "--server", emulators.firestore().address)
    return penstock("config", "apply", str(file), *where, *more)


async def served(project: str) -> Config:
    """What a process of the platform makes of it."""
    api = firestore.connect(emulators.firestore().address)
    try:
        database = firestore.Database.on_emulator(api, project)
        feed = ConfigFeed(FirestoreConfigDocuments(database, utc_now))
        await feed.refresh()
        feed.close()
        return feed.config()
    finally:
        await firestore.close(api)


def test_it_is_written_and_served(tmp_path: Path) -> None:
    file, project = tmp_path / "penstock.yaml", emulators.fresh_project()
    file.write_text(DOCUMENT)
    first = apply(file, project)
    again = apply(file, project, "--json").json

    assert (0, f"Version 1 of the configuration lies in {project}, (default).\n") == (
        first.code,
        first.out,
    )
    assert {"version": 2, "project": project, "database": "(default)"} == again
    assert {"gemma"} == set(asyncio.run(served(project)).models)


def test_nobodys_later_version_is_replaced(tmp_path: Path) -> None:
    file, project = tmp_path / "penstock.yaml", emulators.fresh_project()
    file.write_text(DOCUMENT)
    assert 0 == apply(file, project, "--after", "0").code
    refused = apply(file, project, "--after", "0")

    assert 0 != refused.code
    assert "newest version of the configuration is 1, not 0" in refused.err


def test_what_cannot_hold_is_not_written(tmp_path: Path) -> None:
    file, project = tmp_path / "penstock.yaml", emulators.fresh_project()
    file.write_text("models: {}\n")

    assert 0 != apply(file, project).code
