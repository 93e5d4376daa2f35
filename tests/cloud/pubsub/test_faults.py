"""What an inbox and a publisher bear of time, of dead processes and of a broken broker."""

import asyncio
import signal
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import pytest

from events.words import Unavailable
from services.adapters.pubsub.connection import connect
from services.adapters.pubsub.inbox import PubSubInbox
from services.adapters.pubsub.publisher import PubSubPublisher
from services.adapters.pubsub.pulling.service import Flow
from tests.architecture.source import ROOT
from tests.cloud import emulators
from tests.cloud.pubsub.opening import LATE_S, NEWS, Project, message, nothing_comes, receive, texts
from tests.cloud.pubsub.proxy import proxy

pytestmark = pytest.mark.anyio

HOLDER = """
import asyncio, sys
from services.adapters.pubsub.connection import Place, connect
from services.adapters.pubsub.inbox import PubSubInbox
from tests.cloud.pubsub.opening import NEWS

async def main():
    place = Place(project=sys.argv[1], emulator=sys.argv[2])
    inbox = PubSubInbox(await connect(place), place, [NEWS])
    (found,) = await inbox.receive(NEWS.name, 1)
    print(found.id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
async def declared(project: Project) -> None:
    # Every delivery to a stream that is dead counts: with few attempts a message would be given up.
    patient = msgspec.structs.replace(NEWS.retry, attempts=100)
    await project.ensure(msgspec.structs.replace(NEWS, retry=patient))


@pytest.mark.slow
async def test_what_a_killed_process_held_comes_again_after_its_ack_deadline(project: Project) -> None:
    await project.publisher().publish([message("a")])
    command = [sys.executable, "-c", HOLDER, project.place.project, project.place.emulator]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None
        held = await asyncio.to_thread(holder.stdout.readline)
        holder.send_signal(signal.SIGKILL)
    began = time.monotonic()
    (found,) = await receive(project.inbox(), within_s=LATE_S)

    assert held.strip() == found.id
    assert found.attempt > 1
    assert time.monotonic() - began > 5


@pytest.mark.slow
async def test_a_handler_may_take_longer_than_the_ack_deadline(project: Project) -> None:
    await project.publisher().publish([message("a")])
    slow, other = project.inbox(), project.inbox()
    (found,) = await receive(slow)
    assert await nothing_comes(other, within_s=16)
    await slow.ack(NEWS.name, [found.id])

    assert await nothing_comes(other, within_s=1)


@pytest.mark.slow
async def test_a_message_held_too_long_comes_again_here_or_elsewhere(project: Project) -> None:
    await project.publisher().publish([message("a")])
    stuck, other = project.inbox(flow=Flow(hold_s=1.0)), project.inbox()
    (found,) = await receive(stuck)
    began = time.monotonic()
    waiting = [asyncio.create_task(receive(inbox, within_s=LATE_S)) for inbox in (stuck, other)]
    (done, *_), others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    (again,) = await done

    assert (found.id, 2) == (again.id, again.attempt)
    assert time.monotonic() - began > 8


@pytest.mark.slow
async def test_a_broker_that_pauses_is_unavailable_and_everything_goes_on_afterwards(
    project: Project,
) -> None:
    inbox, publisher = project.inbox(), project.publisher(timeout_s=1.5)
    await publisher.publish([message("before"), message("held")])
    found = await receive(inbox, 1)
    with emulators.pubsub().paused():
        began = time.monotonic()
        waiting = asyncio.create_task(receive(inbox, 10))
        with pytest.raises(Unavailable, match="topic news"):
            await publisher.publish([message("lost or late")])
        assert time.monotonic() - began < 3
        await asyncio.sleep(5 - (time.monotonic() - began))
    await publisher.publish([message("after")])
    found += await waiting
    while "after" not in texts(found):
        found += await receive(inbox)
    await inbox.ack(NEWS.name, [one.id for one in found])

    assert {"before", "held", "after"} <= set(texts(found))


async def test_a_pull_goes_on_after_its_connection_was_cut(project: Project) -> None:
    async with proxy(project.place.emulator) as between:
        place = replace(project.place, emulator=between.address)
        channel = await connect(place)
        inbox = PubSubInbox(channel, place, [NEWS])
        publisher = project.publisher()
        await publisher.publish([message("before")])
        (found,) = await receive(inbox)
        between.cut()
        await inbox.ack(NEWS.name, [found.id])  # tried again on a new connection
        waiting = asyncio.create_task(receive(inbox))
        while not waiting.done():  # the emulator gives about every other one to the stream that was cut
            await publisher.publish([message("after")])
            await asyncio.sleep(0.1)
        await inbox.close()
        await channel.close()

    assert {"after"} == set(texts(await waiting))
    assert between.accepted > 1


async def test_a_publisher_goes_on_after_its_connection_was_cut(project: Project) -> None:
    async with proxy(project.place.emulator) as between:
        place = replace(project.place, emulator=between.address)
        channel = await connect(place)
        publisher = PubSubPublisher(channel, place)
        for number in range(3):
            await publisher.publish([message(str(number))])
            between.cut()
        await channel.close()
    inbox = project.inbox()
    seen: set[str] = set()
    while len(seen) < 3:
        seen |= set(texts(await receive(inbox)))

    assert {"0", "1", "2"} == seen
