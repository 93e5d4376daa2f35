"""`penstock publish`."""

import time
from urllib.parse import quote

import click
import msgspec

from events.words import Invalid
from services.cli import options, platform, show
from services.cli.entered import a_line, an_ascii_line, is_piped, piped

APPEARS_WITHIN_S = 5.0
PAUSE_S = 0.05
ENDED = frozenset({"completed", "failed", "cancelled", "expired"})


class _Published(msgspec.Struct):
    request_id: str


class _Response(msgspec.Struct):
    body: msgspec.Raw


class _Problem(msgspec.Struct):
    message: str


class _Request(msgspec.Struct):
    """A queued request, as far as it is looked at here."""

    status: str
    response: _Response | None = None
    error: _Problem | None = None


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


@click.command()
@click.argument("body", required=False)
@click.option("--prompt", help="Instead of BODY: a question for the model.")
@click.option("--model", callback=a_line, help="The model for --prompt [default: the first one there is].")
@click.option("--tenant", callback=a_line, default="default", show_default=True, help="Whose ingest topic.")
@click.option(
    "--idempotency-key",
    callback=an_ascii_line,
    help="Publishing again with the same key makes no second request.",
)
@click.option("--wait", is_flag=True, help="Wait for the answer and print it.")
@options.data_dir
@options.json_output
def command(
    body: str | None,
    prompt: str | None,
    model: str | None,
    tenant: str,
    idempotency_key: str | None,
    wait: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Queue a request by publishing BODY on a tenant's ingest topic, as an app would.

    BODY is a chat completion's JSON, an envelope {"url", "body", "lane", "deadline"}, @FILE, or - for
    standard input. The request and routing functions take it from there; watch them with
    `penstock events tail`.
    """
    given = [source for source in (body, prompt) if source is not None]
    if len(given) > 1 or not (given or is_piped()):
        raise click.UsageError("Give either BODY or --prompt, or text on standard input.")
    if model is not None and prompt is None:
        raise click.UsageError("--model is for --prompt; a BODY names its own.")
    content = _content(body) if prompt is None else prompt.encode()
    if not content.strip():
        raise Invalid("There is nothing to publish: it is empty.")
    there = platform.find(data_dir)
    if prompt is not None:
        content = _question(prompt, model or there.first_model())
    path = f"/tenants/{quote(tenant, safe='')}/ingest"
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    published = there.admin("POST", path, content, headers)
    request_id = published.read(_Published).request_id
    if wait:
        _wait(request_id, tenant, there, as_json=as_json)
    elif as_json:
        show.as_json(published.read(platform.Json))
    else:
        click.echo(request_id)


def _question(prompt: str, model: str) -> bytes:
    return msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": prompt}]})


def _content(body: str | None) -> bytes:
    if body is None or body == "-":
        return piped()
    if not body.startswith("@"):
        return body.encode()
    try:
        with click.open_file(body[1:], "rb") as file:
            content: bytes = file.read()
            return content
    except OSError as error:
        raise Invalid(f"{body[1:]!r} cannot be read: {error.strerror}.") from error


def _wait(request_id: str, tenant: str, there: platform.Platform, *, as_json: bool) -> None:
    found = _appeared(request_id, tenant, there)
    while (request := found.read(_Request)).status not in ENDED:
        found = there.public("GET", _path(request_id))
    if as_json:
        show.as_json(found.read(platform.Json))
    elif request.response is not None:
        click.echo(_text(bytes(request.response.body)))
    else:
        told = request.error.message if request.error else "The platform does not say why."
        raise Invalid(f"{request_id} {request.status}: {told}")


def _text(body: bytes) -> str:
    """What the model says; the whole answer where it is more than that, such as a call of a tool."""
    try:
        (choice,) = msgspec.json.decode(body, type=_Completion).choices
        return choice.message.content
    except ValueError:
        return body.decode()


def _appeared(request_id: str, tenant: str, there: platform.Platform) -> platform.Answer:
    """The request, once the request function has stored it."""
    deadline = time.monotonic() + APPEARS_WITHIN_S
    while True:
        try:
            return there.public("GET", _path(request_id))
        except platform.NotThere as error:
            if time.monotonic() > deadline:
                raise Invalid(
                    f"{request_id} was published, but cannot be read with this key. Another tenant's key "
                    f"cannot: set PENSTOCK_API_KEY to one of {tenant}."
                ) from error
            time.sleep(PAUSE_S)


def _path(request_id: str) -> str:
    return f"/v1/requests/{quote(request_id, safe='')}?wait=30"
