"""`penstock publish`."""

import sys
import time
from urllib.parse import quote

import click
import msgspec

from events.words import Invalid
from services.cli import options, platform, show

APPEARS_WITHIN_S = 5.0
PAUSE_S = 0.05
ENDED = frozenset({"completed", "failed", "cancelled", "expired"})


@click.command()
@click.argument("body", required=False)
@click.option("--prompt", help="Instead of BODY: a question for the model.")
@click.option("--model", help="The model for --prompt [default: the first one there is].")
@click.option("--tenant", default="default", show_default=True, help="Whose ingest topic.")
@click.option(
    "--idempotency-key", default="", help="Publishing again with the same key makes no second request."
)
@click.option("--wait", is_flag=True, help="Wait for the answer and print it.")
@options.data_dir
@options.json_output
def command(
    body: str | None,
    prompt: str | None,
    model: str | None,
    tenant: str,
    idempotency_key: str,
    wait: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Queue a request by publishing BODY on a tenant's ingest topic, as an app would.

    BODY is a chat completion's JSON, an envelope {"url", "body", "lane", "deadline"}, @FILE, or - for
    standard input. The request and routing functions take it from there; watch them with
    `penstock events tail`.
    """
    there = platform.find(data_dir)
    content = _content(body, prompt, model, there)
    path = f"/tenants/{quote(tenant, safe='')}/ingest"
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    published = there.admin("POST", path, content, headers)
    if wait:
        _wait(published["request_id"], tenant, there, as_json=as_json)
    elif as_json:
        show.as_json(published)
    else:
        click.echo(published["request_id"])


def _content(body: str | None, prompt: str | None, model: str | None, there: platform.Platform) -> bytes:
    if prompt is not None:
        name = model or there.public("GET", "/v1/models")["data"][0]["id"]
        return msgspec.json.encode({"model": name, "messages": [{"role": "user", "content": prompt}]})
    if body is None or body == "-":
        return sys.stdin.buffer.read()
    if body.startswith("@"):
        try:
            with click.open_file(body[1:], "rb") as file:
                content: bytes = file.read()
                return content
        except OSError as error:
            raise Invalid(f"{body[1:]} cannot be read: {error.strerror}.") from error
    return body.encode()


def _wait(request_id: str, tenant: str, there: platform.Platform, *, as_json: bool) -> None:
    found = _appeared(request_id, tenant, there)
    while found["status"] not in ENDED:
        found = there.public("GET", f"/v1/requests/{request_id}?wait=30")
    if as_json:
        show.as_json(found)
    elif found["response"]:
        click.echo(found["response"]["body"]["choices"][0]["message"]["content"])
    else:
        raise Invalid(f"{request_id} {found['status']}: {found['error']['message']}")


def _appeared(request_id: str, tenant: str, there: platform.Platform) -> platform.Json:
    """The request, once the request function has stored it."""
    deadline = time.monotonic() + APPEARS_WITHIN_S
    while True:
        try:
            return there.public("GET", f"/v1/requests/{request_id}?wait=30")
        except platform.NotThere as error:
            if time.monotonic() > deadline:
                raise Invalid(
                    f"{request_id} was published, but cannot be read with this key. Another tenant's key "
                    f"cannot: set PENSTOCK_API_KEY to one of {tenant}."
                ) from error
            time.sleep(PAUSE_S)
