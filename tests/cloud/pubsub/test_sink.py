import signal
import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest

from events.bus import message_of
from events.envelope import wrap
from events.usage import Progress, UsageRecorded
from events.words import Usage
from services.adapters.pubsub.connection import Place, connect
from services.adapters.pubsub.publisher import PubSubPublisher
from tests.architecture.source import ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_loop")]

NOW = datetime(2027, 3, 1, tzinfo=UTC)


async def test_the_sink_runs_by_itself_and_tells_what_it_counted() -> None:
    command = [sys.executable, "-m", "tests.support.pubsub_sink", "--pages"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        place = Place(project="test", emulator=process.stdout.readline().strip())
        channel = await connect(place)
        record = Progress(attempt="a.1", at=NOW, usage=Usage(input=1))
        page = wrap(UsageRecorded(producer="p", records=(record, record)), id="1", source="/p", time=NOW)
        for _ in range(2):
            await PubSubPublisher(channel, place).publish([message_of(page)])
        await channel.close()
        process.send_signal(signal.SIGTERM)
        counted = msgspec.json.decode(process.stdout.read())

    assert {"usage-recorded-v1": 2} == counted["messages"]
    assert (1, {"progress": 2}) == (counted["pages"], counted["records"])
