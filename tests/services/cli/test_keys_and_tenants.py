"""`penstock keys` and `penstock tenants` against a running platform."""

import pytest

from tests.services.cli.conftest import Command
from tests.support.platform import Running
from tests.support.rehearsing import MODEL

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def status(platform: Running, key: str) -> int:
    answer = await platform.call("GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
    return answer.status


async def test_a_key_is_made_works_and_is_refused_as_soon_as_it_is_revoked(
    platform: Running, command: Command
) -> None:
    made = await command("keys", "create", "--name", "laptop", "--expires", "30d")
    key = made.out.strip()
    name = made.err.split()[0]
    assert (0, 200) == (made.code, await status(platform, key))
    assert "not shown again" in made.err

    revoked = await command("keys", "revoke", name)
    assert f"{name} is revoked.\n" == revoked.out
    assert 401 == await status(platform, key)


async def test_a_key_is_made_for_scripts(platform: Running, command: Command) -> None:
    made = (await command("keys", "create", "--name", "ci", "--json")).json

    assert ("default", "ci", None) == (made["tenant"], made["name"], made["expires_at"])
    assert 200 == await status(platform, made["key"])


async def test_keys_are_listed_but_never_shown(platform: Running, command: Command) -> None:
    key = (await command("keys", "create", "--name", "laptop")).out.strip()
    table = await command("keys", "list")
    rows = (await command("keys", "list", "--json")).json

    assert all(heading in table.out for heading in ("KEY", "TENANT", "NAME", "EXPIRES", "REVOKED"))
    assert "laptop" in table.out
    assert {"development", "laptop", "ingest topic"} == {row["name"] for row in rows}
    assert key not in table.out + str(rows)
    assert platform.key not in table.out + str(rows)


async def test_tenants_are_made_and_listed_with_their_keys(platform: Running, command: Command) -> None:
    made = await command("tenants", "create", "acme", "--name", "Acme Corp.")
    key = (await command("keys", "create", "--tenant", "acme", "--json")).json
    tenants = (await command("tenants", "list", "--json")).json
    keys = (await command("keys", "list", "--tenant", "acme", "--json")).json

    assert "penstock keys create --tenant acme" in made.out
    assert [("acme", "Acme Corp."), ("default", "Default")] == [(row["id"], row["name"]) for row in tenants]
    assert {"acme"} == {row["tenant"] for row in keys}
    assert key["id"] in [row["id"] for row in keys]
    assert "Acme Corp." in (await command("tenants", "list")).out


async def test_a_tenants_apps_are_let_publish(platform: Running, command: Command) -> None:
    enabled = await command("tenants", "enable-ingest", "default")

    assert "Apps of default publish to ingest-default" in enabled.out
    ended = await command("tenants", "enable-ingest", "default", "--project", "acme")
    assert 2 == ended.code
    assert "needs --push" in ended.err


async def test_caching_is_turned_on_for_a_tenant_and_off_again(platform: Running, command: Command) -> None:
    on = await command("tenants", "set", "default", "--cache", "on")
    (shown,) = (await command("tenants", "list", "--json")).json
    first, second = [await platform.chat(model=MODEL, temperature=0) for _ in range(2)]
    off = (await command("tenants", "set", "default", "--cache", "off", "--json")).json

    assert "The cache is on for default.\n" == on.out
    assert ("on", "off") == (shown["cache"], off["cache"])
    assert "penstock; fwd=miss" in first.headers["cache-status"]
    assert "penstock; hit" in second.headers["cache-status"]
    assert "rehearsal" == second.headers["x-penstock-engine"]


async def test_a_tenants_prompts_may_leave_or_stay(platform: Running, command: Command) -> None:
    on = await command("tenants", "set", "default", "--may-leave", "on")
    (shown,) = (await command("tenants", "list", "--json")).json
    both = await command("tenants", "set", "default", "--may-leave", "off", "--cache", "on")
    nothing = await command("tenants", "set", "default")

    assert "Prompts of default may leave.\n" == on.out
    assert ("on", "off") == (shown["may_leave"], shown["cache"])
    assert "The cache is on for default.\nPrompts of default stay inside.\n" == both.out
    assert "MAY LEAVE" in (await command("tenants", "list")).out
    assert (2, True) == (nothing.code, "--cache or --may-leave" in nothing.err)


@pytest.mark.parametrize("what", ["tenant", "model", "key"])
async def test_cached_answers_are_purged(platform: Running, command: Command, what: str) -> None:
    purged = await command("cache", "purge", f"--{what}", "a b")
    as_json = (await command("cache", "purge", f"--{what}", "a b", "--json")).json

    assert f"Nothing cached for the {what} a b is given after 10 s.\n" == purged.out
    assert {"scope": what, "name": "a b", "effective_within_s": 10} == as_json


@pytest.mark.parametrize("named", [(), ("--tenant", "a", "--model", "b")], ids=["nothing", "two"])
async def test_what_to_purge_has_to_be_one(command: Command, named: tuple[str, ...]) -> None:
    ended = await command("cache", "purge", *named)

    assert 2 == ended.code
    assert "Name one of --tenant, --model and --key." in ended.err


FAILS = {
    "a tenant nobody made": (("tenants", "set", "no one", "--cache", "on"), "There is no tenant no one."),
    "a tenant that is there": (("tenants", "create", "default"), "There is a tenant default already."),
    "a tenant's id in capitals": (("tenants", "create", "Acme"), "lower-case letters, digits and dashes."),
    "a name without end": (("tenants", "create", "acme", "--name", "x" * 101), "at most 100"),
    "a key for nobody": (("keys", "create", "--tenant", "nobody"), "penstock tenants create."),
    "a key that expired": (("keys", "create", "--expires", "2020-01-01T00:00:00Z"), "a future time"),
    "a key that expires in words": (("keys", "create", "--expires", "soon"), "neither a span (12h, 30d)"),
    "a key that expires after all days": (("keys", "create", "--expires", "999999w"), "too far away."),
    "a key that is not there": (("keys", "revoke", "key_0"), "There is no key key_0."),
    "a key in odd letters": (("keys", "revoke", "a b/c?d"), "There is no key a b/c?d."),
}


@pytest.mark.parametrize(("arguments", "told"), FAILS.values(), ids=FAILS)
async def test_what_cannot_be_done_is_told_in_a_sentence(
    command: Command, arguments: tuple[str, ...], told: str
) -> None:
    assert told in (await command(*arguments)).sentence
