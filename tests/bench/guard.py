"""What a guard costs, in this process and without sockets: `python -m tests.bench.guard`.

For each kind of guard, the processor time of one event of a stream and of one answer in one piece, beside
what the event costs anyway; and of one verdict on a prompt. The best of the rounds is told: the rest is the
machine.
"""

import time
from collections.abc import Callable

import click

from services.guarding.asking import ask
from services.guarding.guard import Prompt, Watch
from services.guarding.sieve import Sieve
from services.guarding.texts import sift
from services.pool.stream import EventStream
from tests.support.guards import Passing, Redacting, TestGuard
from tests.support.wire import DONE, chat, completion, delta

EVENTS = [*(delta(f" word{number}", id="chatcmpl-1", created=1) for number in range(256)), DONE]
ANSWER = completion(" word" * 256)
PROMPT = Prompt(tenant="acme", model="gemma", endpoint="/v1/chat/completions", body=chat("word " * 200))

GUARDS: dict[str, Callable[[], Watch] | None] = {
    "no guard": None,
    "passing": Passing,  # does nothing: what it costs to be asked
    "redacting": lambda: Redacting("secret", "password"),
}


def stream(watch: Callable[[], Watch] | None) -> None:
    """One stream, as an attempt reads it, and through a guard."""
    events = EventStream(wants_usage=False)
    if watch is None:
        for event in EVENTS:
            events.feed(event)
        return
    sieve = Sieve(lambda _: watch())
    for event in EVENTS:
        sieve.feed(events.feed(event))


def answer(watch: Callable[[], Watch] | None) -> None:
    """One answer in one piece."""
    if watch is not None:
        sift(ANSWER, lambda _: watch())


def verdict() -> None:
    """One prompt."""
    ask(TestGuard(), PROMPT)


def best_us(work: Callable[[], None], rounds: int, units: int = 1) -> float:
    """Processor time of one unit of it, in microseconds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time_ns()
        work()
        best = min(best, time.process_time_ns() - began)
    return best / 1000 / units


def measured(rounds: int) -> dict[str, tuple[float, float]]:
    """Microseconds of an event and of an answer, by guard."""
    return {
        name: (
            best_us(lambda watch=watch: stream(watch), rounds, len(EVENTS)),  # type: ignore[misc]
            best_us(lambda watch=watch: answer(watch), rounds),  # type: ignore[misc]
        )
        for name, watch in GUARDS.items()
    }


@click.command()
@click.option(
    "--rounds", type=click.IntRange(1), default=300, show_default=True, help="Of which the best counts."
)
def command(rounds: int) -> None:
    """Measure what a guard costs."""
    click.echo("| guard | us an event of a stream | us an answer of 256 words |\n| --- | --- | --- |")
    for name, (event_us, answer_us) in measured(rounds).items():
        click.echo(f"| {name} | {event_us:.2f} | {answer_us:.2f} |")
    click.echo(f"\nA verdict that reads nothing of a prompt but its JSON: {best_us(verdict, rounds):.2f} us.")


if __name__ == "__main__":
    command()
