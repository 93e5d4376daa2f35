"""Who may call what, and what those are told who may not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.router.credentials import mint
from tests.services.router.refusing import refusal
from tests.support import client
from tests.support.client import Response
from tests.support.platform import CHAT, Running, eventually
from tests.support.wire import chat

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def platform(shared_platform: Running) -> Running:
    return shared_platform


# Each way into the platform asks for a key on its own.
PLACES = {
    "chat": ("POST", CHAT, chat()),
    "models": ("GET", "/v1/models", None),
    "requests": ("GET", "/v1/requests/req_0", None),
}


async def called(platform: Running, place: str, authorization: str | None) -> Response:
    method, path, body = PLACES[place]
    headers = {} if authorization is None else {"authorization": authorization}
    return await client.ask(platform.port, method, path, body, headers)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic dTpw", "psk_bare"])
async def test_without_a_key_a_caller_is_told_how_to_send_one(
    platform: Running, place: str, authorization: str | None
) -> None:
    answer = await called(platform, place, authorization)

    assert "Authorization: Bearer" in refusal(answer, 401, "invalid_api_key")
    assert "Bearer" == answer.headers["www-authenticate"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", ["hello", "sk-proj-1234", "psk_", "\xff\xfe", "psk_" + "0" * 49])
async def test_what_is_no_key_is_told_from_one(platform: Running, place: str, key: str) -> None:
    answer = await called(platform, place, f"Bearer {key}")

    assert "mistyped or no Penstock key" in refusal(answer, 401, "invalid_api_key")
    assert key not in answer.body.decode()


@pytest.mark.parametrize("place", PLACES)
async def test_a_mistyped_key_is_told_from_an_unknown_one(platform: Running, place: str) -> None:
    typo = platform.key[:-1] + ("a" if platform.key[-1] != "a" else "b")

    assert "mistyped" in refusal(await called(platform, place, f"Bearer {typo}"), 401, "invalid_api_key")
    unknown = refusal(await called(platform, place, f"Bearer {mint()}"), 401, "invalid_api_key")
    assert "is not known here" in unknown


@pytest.mark.parametrize("place", PLACES)
async def test_an_admin_key_does_not_open_the_api(platform: Running, place: str) -> None:
    answer = await called(platform, place, f"Bearer {platform.admin_key}")

    assert "admin key" in refusal(answer, 401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/tenants", "/keys", "/usage", "/events", "/dead-letters"])
async def test_an_api_key_does_not_open_the_admin_endpoints(platform: Running, path: str) -> None:
    for key in (platform.key, "nonsense", "\xff"):
        answer = await client.ask(
            platform.port, "GET", f"/admin/v1{path}", headers={"authorization": f"Bearer {key}"}
        )
        assert "admin key" in refusal(answer, 401, "invalid_admin_key")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_may_be_written_in_any_case(platform: Running, scheme: str) -> None:
    assert 200 == (await called(platform, "models", f"{scheme} {platform.key}")).status


async def made(platform: Running, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = await platform.admin("POST", "/keys", {"name": "test", **more})
    return found


@pytest.mark.parametrize("place", PLACES)
async def test_a_revoked_key_is_refused_at_once(platform: Running, place: str) -> None:
    key = await made(platform)
    assert 401 != (await called(platform, place, f"Bearer {key['key']}")).status
    await platform.admin("POST", f"/keys/{key['id']}/revoke")

    answer = await called(platform, place, f"Bearer {key['key']}")
    assert f"{key['id']} was revoked" in refusal(answer, 401, "invalid_api_key")


@pytest.mark.parametrize("place", PLACES)
async def test_a_key_is_refused_once_it_expired(platform: Running, place: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.15)
    key = await made(platform, expires_at=soon.isoformat())
    assert 401 != (await called(platform, place, f"Bearer {key['key']}")).status

    async def refused() -> bool:
        return (await called(platform, place, f"Bearer {key['key']}")).status == 401

    await eventually(refused)
    answer = await called(platform, place, f"Bearer {key['key']}")
    assert f"{key['id']} has expired" in refusal(answer, 401, "invalid_api_key")


async def test_a_key_made_while_it_was_refused_works_at_once(platform: Running) -> None:
    first = await made(platform)
    assert 200 == (await called(platform, "models", f"Bearer {first['key']}")).status


async def test_the_admin_endpoints_never_show_a_key_or_its_hash(platform: Running) -> None:
    key = await made(platform)
    listed = await platform.admin("GET", "/keys")

    assert key["key"] not in str(listed)
    assert not any("hash" in row for row in listed["data"])
