import time

import pytest

from events.words import Conflict, Invalid, Unavailable
from services.adapters.pubsub.connection import Place
from services.adapters.pubsub.topics.plan import plan
from services.adapters.pubsub.topics.server import TopicsServer
from services.adapters.pubsub.topics.state import State, Subscription, Topic
from services.adapters.pubsub.topics.wished import Consumer, labels, wished
from tests.cloud.pubsub.opening import Project
from tests.support.upstream import unreachable

pytestmark = pytest.mark.anyio

CONSUMERS = {
    "metering": Consumer(url="https://metering.run.app", service_account="push@p.iam.gserviceaccount.com"),
    "request": Consumer(url="https://request.run.app", service_account="ingest@p.iam.gserviceaccount.com"),
}
GOAL = wished(consumers=CONSUMERS, tenants=["acme"], dead_letters_kept_days=7)


def verbs(server: TopicsServer, goal: State) -> dict[str, str]:
    return {step.name: step.verb for step in plan(goal, server.read())}


def by_name(state: State) -> dict[str, Topic | Subscription]:
    return {thing.name: thing for thing in (*state.topics, *state.subscriptions)}


async def test_an_empty_project_becomes_what_is_wished_and_stays_so(project: Project) -> None:
    server = project.server
    steps = plan(GOAL, server.read())
    assert steps == server.apply(steps)

    assert by_name(GOAL) == by_name(server.read())
    assert {"keep"} == set(verbs(server, GOAL).values())
    assert [] == server.apply(plan(GOAL, server.read()))
    assert steps == server.apply(steps)  # an old plan does no harm


async def test_only_what_is_missing_or_differs_is_touched(project: Project) -> None:
    server = project.server
    less = {"metering": CONSUMERS["metering"]}
    server.apply(plan(wished(consumers=less, dead_letters_kept_days=7), State()))
    assert {"create", "keep"} == set(verbs(server, GOAL).values())
    server.apply(plan(GOAL, server.read()))

    goal = wished(
        consumers={**CONSUMERS, "metering": Consumer(url="https://new.run.app")},
        tenants=["acme"],
        dead_letters_kept_days=6,
    )
    updated = {name for name, verb in verbs(server, goal).items() if verb == "update"}
    assert {"usage-recorded-v1.metering", "job-settle-usage.metering"} == {
        name for name in updated if not name.endswith(".kept")
    }
    server.apply(plan(goal, server.read()))

    assert by_name(goal) == by_name(server.read())


async def test_a_consumer_that_lost_its_url_pulls_again(project: Project) -> None:
    server = project.server
    server.apply(plan(GOAL, State()))
    goal = wished(tenants=["acme"], dead_letters_kept_days=7)
    server.apply(plan(goal, server.read()))

    assert by_name(goal) == by_name(server.read())


async def test_nothing_is_deleted(project: Project) -> None:
    server = project.server
    server.apply(plan(GOAL, State()))
    less = wished(consumers={"metering": CONSUMERS["metering"]}, dead_letters_kept_days=7)
    assert "unknown" == verbs(server, less)["ingest-acme.request"]
    server.apply(plan(less, server.read()))

    assert by_name(GOAL).keys() == by_name(server.read()).keys()


async def test_a_subscription_whose_topic_was_deleted_is_told_after_the_rest_was_done(
    project: Project,
) -> None:
    server = project.server
    topic, late = (Topic(name=name, labels=labels("event")) for name in ("first", "later"))
    reader = Subscription(name="first.reader", topic="first", labels=labels("event"))
    server.apply(plan(State(topics=(topic,), subscriptions=(reader,)), State()))
    server._topics.delete_topic({"topic": project.place.topic("first")})

    goal = State(topics=(topic, late), subscriptions=(reader,))
    with pytest.raises(Conflict, match=r"first\.reader.*gcloud pubsub subscriptions delete first\.reader"):
        server.apply(plan(goal, server.read()))
    assert {"first", "later"} == {one.name for one in server.read().topics}


async def test_what_pubsub_refuses_is_told_in_a_sentence_and_the_others_are_done(project: Project) -> None:
    topics = tuple(Topic(name=name) for name in ("one", "x", "three"))  # "x" is too short
    with pytest.raises(Invalid, match="refuses the topic x"):
        project.server.apply(plan(State(topics=topics), State()))

    assert {"one", "three"} == {one.name for one in project.server.read().topics}


async def test_a_subscription_without_its_topic_says_what_is_missing(project: Project) -> None:
    lone = Subscription(name="lone", topic="nowhere")
    with pytest.raises(Conflict, match="subscription lone"):
        project.server.apply(plan(State(subscriptions=(lone,)), State()))


def test_a_server_that_cannot_be_reached_is_unavailable_within_the_timeout() -> None:
    with unreachable() as url:
        server = TopicsServer(Place(project="test", emulator=url.removeprefix("http://")), timeout_s=1.0)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="project test"):
            server.read()
        server.close()

    assert time.monotonic() - began < 5


async def test_a_tenants_ingest_is_enabled_beside_all_others(project: Project) -> None:
    from services.runtime import cloud_topics  # noqa: PLC0415

    project.server.apply(plan(GOAL, project.server.read()))
    steps = cloud_topics.enable_ingest(project.place, "bolt", "https://request.run.app", "")

    assert {"create"} == {step.verb for step in steps}
    made = {step.name for step in steps}
    assert {
        "ingest-bolt",
        "ingest-bolt.request",
        "ingest-bolt.request.dead",
        "ingest-bolt.request.dead.kept",
        "answers-bolt",
    } == made
    pushes = {thing.name: thing.push for thing in project.server.read().subscriptions}
    assert "https://request.run.app/ingest/bolt" == pushes["ingest-bolt.request"].endpoint
    assert {"keep"} == set(verbs(project.server, GOAL).values()) - {"unknown"}
