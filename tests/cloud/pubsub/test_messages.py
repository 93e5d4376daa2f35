import subprocess
import sys

import pytest
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from services.adapters.pubsub import messages

OURS = sorted(name for name in vars(messages) if name[0].isupper() and name not in ("PACKAGE", "Empty"))
LOOK = """
import sys
import services.adapters.pubsub.inbox, services.adapters.pubsub.publisher, services.adapters.pubsub.watch
import services.adapters.pubsub.topics.plan, services.adapters.pubsub.topics.server
print(*[name for name in ("google.pubsub_v1", "google.auth", "google.api_core") if name in sys.modules])
"""


@pytest.mark.parametrize("name", OURS)
def test_our_messages_are_the_official_ones_on_the_wire(name: str) -> None:
    official = getattr(types, name).pb().DESCRIPTOR.fields_by_name
    for field in getattr(messages, name).DESCRIPTOR.fields:
        theirs = official[field.name]
        assert (theirs.number, theirs.type, theirs.is_repeated) == (
            field.number,
            field.type,
            field.is_repeated,
        )


def test_an_empty_answer_is_the_official_one() -> None:
    assert b"" == messages.Empty().SerializeToString() == empty_pb2.Empty().SerializeToString()


def test_what_runs_all_the_time_does_not_bring_the_official_client_along() -> None:
    found = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert [] == found.stdout.split()
