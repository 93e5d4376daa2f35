import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from events.words import Unavailable
from services.adapters.pubsub.connection import Place, connect
from services.adapters.pubsub.topics.server import TopicsServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_loop")]

PLACE = Place(project="test")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "a@test.iam.gserviceaccount.com",
        "token_uri": "https://127.0.0.1:1/token",
        "private_key": pem.decode(),
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))


@pytest.mark.usefixtures("nobody")
async def test_a_process_without_an_identity_is_told_how_to_get_one() -> None:
    with pytest.raises(Unavailable, match="gcloud auth application-default login"):
        await connect(PLACE)
    with pytest.raises(Unavailable, match="gcloud auth application-default login"):
        TopicsServer(PLACE)


@pytest.mark.usefixtures("somebody")
async def test_a_process_with_an_identity_gets_a_channel_without_any_call() -> None:
    channel = await connect(PLACE)
    await channel.close()
    TopicsServer(PLACE).close()
