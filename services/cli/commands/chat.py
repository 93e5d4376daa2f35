"""`penstock chat`."""

import sys

import click
import msgspec

from events.words import Invalid, PenstockError, Unavailable
from services.cli import options, platform

Turn = dict[str, str]


@click.command()
@click.argument("prompt", required=False)
@click.option("--model", help="Which model [default: the first one there is].")
@click.option("--system", help="What the model should know about its role.")
@options.data_dir
@click.option("--json", "as_json", is_flag=True, help="Print the answer's events as JSON lines.")
def command(
    prompt: str | None, model: str | None, system: str | None, data_dir: str | None, as_json: bool
) -> None:
    """Talk to a model; answers appear as they are made.

    With PROMPT (or text on standard input) it answers once; without, it goes on until Ctrl-D.
    """
    there = platform.find(data_dir)
    name = model or there.public("GET", "/v1/models")["data"][0]["id"]
    turns: list[Turn] = [{"role": "system", "content": system}] if system else []
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read()
    if prompt is not None:
        _ask(there, name, [*turns, {"role": "user", "content": prompt}], as_json=as_json)
    else:
        _converse(there, name, turns, as_json=as_json)


def _converse(there: platform.Platform, model: str, turns: list[Turn], *, as_json: bool) -> None:
    click.echo(f"{model} listens. Ctrl-D ends.", err=True)
    while True:
        try:
            said = input("> ")
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return
        if not said.strip():
            continue
        turns.append({"role": "user", "content": said})
        try:
            turns.append({"role": "assistant", "content": _ask(there, model, turns, as_json=as_json)})
        except PenstockError as error:
            turns.pop()
            click.echo(f"{error}", err=True)


def _ask(there: platform.Platform, model: str, turns: list[Turn], *, as_json: bool) -> str:
    body = msgspec.json.encode({"model": model, "messages": turns, "stream": True})
    answer = ""
    for line in there.stream("POST", "/v1/chat/completions", body):
        if line.strip() == b"data: [DONE]":
            break
        if not line.startswith(b"data:"):
            continue
        event = msgspec.json.decode(line[5:])
        if as_json:
            click.echo(line[5:].strip())
        if "error" in event:
            click.echo()
            raise Invalid(event["error"]["message"])
        piece = _text(event)
        answer += piece
        if not as_json:
            click.echo(piece, nl=False)
    else:
        click.echo()
        raise Unavailable("The connection ended before the answer was whole.")
    if not as_json:
        click.echo()
    return answer


def _text(event: platform.Json) -> str:
    choices = event.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""
