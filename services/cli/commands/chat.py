"""`penstock chat`."""

import click
import msgspec

from events.words import Invalid, PenstockError, Unavailable
from services.cli import options, platform
from services.cli.entered import a_line, is_piped, piped

Turn = dict[str, str]


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Problem(msgspec.Struct):
    message: str


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    error: _Problem | None = None

    @property
    def text(self) -> str:
        return (self.choices[0].delta.content or "") if self.choices else ""


@click.command()
@click.argument("prompt", required=False)
@click.option("--model", callback=a_line, help="Which model [default: the first one there is].")
@click.option("--system", help="What the model should know about its role.")
@options.data_dir
@click.option("--json", "as_json", is_flag=True, help="Print the answer's events as JSON lines.")
def command(
    prompt: str | None, model: str | None, system: str | None, data_dir: str | None, as_json: bool
) -> None:
    """Talk to a model; answers appear as they are made.

    With PROMPT (or text on standard input) it answers once; without, it goes on until Ctrl-D.
    """
    if prompt is None and is_piped():
        prompt = _text(piped())
    if prompt is not None and not prompt.strip():
        raise Invalid("There is nothing to ask: the prompt is empty.")
    there = platform.find(data_dir)
    name = model or there.first_model()
    turns: list[Turn] = [{"role": "system", "content": system}] if system else []
    if prompt is not None:
        _ask(there, name, [*turns, {"role": "user", "content": prompt}], as_json=as_json)
    else:
        _converse(there, name, turns, as_json=as_json)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Invalid("Standard input is not UTF-8 text.") from error


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
        event = platform.read(line[5:], _Event, there.url)
        if as_json:
            click.echo(line[5:].strip())
        if event.error is not None:
            click.echo()
            raise Invalid(event.error.message)
        answer += event.text
        if not as_json:
            click.echo(event.text, nl=False)
    else:
        click.echo()
        raise Unavailable("The connection ended before the answer was whole.")
    if not as_json:
        click.echo()
    return answer
