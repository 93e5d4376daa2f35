"""Google's tokens by Google's own library, from servers on this machine that speak its protocols."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from events.config import Backend
from events.words import Unavailable
from services.adapters.google.tokens import GoogleTokens
from services.runtime.backends import fetch_of

pytestmark = pytest.mark.anyio


class Servers(ThreadingHTTPServer):
    """A token endpoint and a metadata server in one. `refuses` says with what, if it does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuses: tuple[int, dict[str, str]] | None = None
        self.given = 0
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Servers

    def do_GET(self) -> None:
        if "/token" in self.path:
            self._token()
        elif "service-accounts/default/" in self.path:
            self._say(200, {"email": "penstock@example.com", "scopes": [], "aliases": ["default"]})
        else:
            self._say(200, {})

    def do_POST(self) -> None:
        sent = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        assert sent["assertion"]
        self._token()

    def _token(self) -> None:
        self.server.asked.append(self.path)
        if self.server.refuses:
            self._say(*self.server.refuses)
            return
        self.server.given += 1
        told = {"access_token": f"token-{self.server.given}", "expires_in": 3600, "token_type": "Bearer"}
        self._say(200, told)

    def _say(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (
            ("content-type", "application/json"),
            ("metadata-flavor", "Google"),
            ("content-length", str(len(body))),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Servers]:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nobody-is-logged-in"))
    made = Servers()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def account(servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A service account's file."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "account.json"
    file.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "p",
                "private_key_id": "1",
                "private_key": key.decode(),
                "client_email": "penstock@p.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"http://{servers.address}/token",
            }
        )
    )
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return file


async def test_a_service_accounts_file_gives_tokens(servers: Servers, account: Path) -> None:
    tokens = GoogleTokens()
    first, second = await tokens.fetch(), await tokens.fetch()
    assert b"authorization: Bearer token-1\r\n" == first.line
    assert b"authorization: Bearer token-2\r\n" == second.line
    assert first.lasts_s is not None
    assert 3000 < first.lasts_s <= 3600


async def test_the_metadata_server_gives_tokens(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", servers.address)
    monkeypatch.setenv("GCE_METADATA_IP", servers.address)
    grant = await GoogleTokens().fetch()
    assert b"authorization: Bearer token-1\r\n" == grant.line
    assert grant.lasts_s is not None
    assert 3000 < grant.lasts_s <= 3600


async def test_the_wiring_asks_googles_library(servers: Servers, account: Path) -> None:
    found = fetch_of(Backend(url="https://host/v1", auth="google"))
    assert found is not None
    what, fetch = found
    assert ("a token of Google's", b"authorization: Bearer token-1\r\n") == (what, (await fetch()).line)
    assert b"authorization: Bearer token-2\r\n" == (await fetch()).line


async def test_a_refusal_is_told_and_over_once_it_is_over(servers: Servers, account: Path) -> None:
    servers.refuses = 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    tokens = GoogleTokens()
    with pytest.raises(Unavailable, match=r"^RefreshError: invalid_grant: Invalid JWT Signature\.$"):
        await tokens.fetch()
    servers.refuses = None
    assert (await tokens.fetch()).line


async def test_credentials_that_cannot_be_read_are_told_without_them(account: Path) -> None:
    account.write_text('{"type": "service_account", "private_key": "hush-hush"}')
    with pytest.raises(Unavailable) as told:
        await GoogleTokens().fetch()
    assert "hush-hush" not in str(told.value)


async def test_where_nobody_listens_that_is_told(account: Path, servers: Servers) -> None:
    content = json.loads(account.read_text())
    account.write_text(json.dumps(content | {"token_uri": "http://127.0.0.1:1/token"}))
    with pytest.raises(Unavailable, match="TransportError"):
        await GoogleTokens().fetch()
