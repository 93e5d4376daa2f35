"""A pushed event whose consequences cannot be published waits for an operator, but not for ever."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.answer import AnswerDue
from events.bus import message_of
from events.catalog import Subscription, answers_topic, subscriptions
from events.envelope import Envelope, format_time, wrap
from events.requests import Owed
from services.adapters.pubsub.inbox import REASON
from services.adapters.pubsub.push import (
    AGAIN,
    DONE,
    OPERATORS_HAVE,
    PUBLISH_TIME,
    SUBSCRIPTION,
    PushEndpoint,
)
from tests.cloud.pubsub.opening import Project, receive_all

pytestmark = pytest.mark.anyio

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
(DELIVERY,) = [one for one in subscriptions() if one.consumer == "delivery"]
APP = Subscription(topic=answers_topic("acme"), consumer="app")
DUE = message_of(wrap(AnswerDue(request_id="r1", tenant="acme"), id="1", source="/dispatcher", time=NOW))


async def answering(envelope: Envelope) -> Sequence[Owed]:
    return [Owed(topic=APP.topic, attributes={"ce-id": "2"}, data=b"the answer")]


async def pushed(project: Project, age: timedelta | None) -> int:
    """The status of a push of what was published so long ago; without a time, where Pub/Sub tells none."""
    headers: dict[str, Any] = {**DUE.attributes, SUBSCRIPTION: DELIVERY.name}
    if age is not None:
        headers[PUBLISH_TIME] = format_time(NOW - age)
    endpoint = PushEndpoint(answering, project.publisher(), source="/functions/delivery", now=lambda: NOW)
    return await endpoint.internal(headers, DUE.data)


@pytest.mark.parametrize("age", [0 * SECOND, OPERATORS_HAVE, None])
async def test_an_answer_waits_for_its_topic_to_be_made(project: Project, age: timedelta | None) -> None:
    await project.ensure(DELIVERY)
    assert AGAIN == await pushed(project, age)

    await project.ensure(APP)
    assert DONE == await pushed(project, age)
    (message,) = await receive_all(project.inbox(APP), 1, APP.name)
    assert b"the answer" == message.data


async def test_a_topic_nobody_makes_is_the_reason_of_a_dead_letter_that_says_how(project: Project) -> None:
    await project.ensure(DELIVERY)
    assert DONE == await pushed(project, OPERATORS_HAVE + SECOND)

    (dead,) = await project.dead_letters(1, DELIVERY)
    assert (DUE.data, "1") == (dead.data, dead.attributes["ce-id"])
    assert "no topic answers-acme" in dead.attributes[REASON]
    assert "penstock tenants enable-ingest" in dead.attributes[REASON]


async def test_a_dead_letter_that_cannot_be_kept_is_no_end(project: Project) -> None:
    assert AGAIN == await pushed(project, OPERATORS_HAVE + SECOND)


async def test_a_publish_time_nobody_can_read_is_put_aside(project: Project) -> None:
    await project.ensure(DELIVERY)
    endpoint = PushEndpoint(answering, project.publisher(), source="/functions/delivery", now=lambda: NOW)
    headers = {**DUE.attributes, SUBSCRIPTION: DELIVERY.name, PUBLISH_TIME: "noon"}
    assert DONE == await endpoint.internal(headers, DUE.data)

    (dead,) = await project.dead_letters(1, DELIVERY)
    assert "RFC 3339" in dead.attributes[REASON]
