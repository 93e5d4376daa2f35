"""The plan is pure: no server is needed to know what would be done."""

import pytest
from msgspec.structs import replace

from events import catalog
from events.words import Invalid
from services.adapters.pubsub.topics.plan import Step, plan
from services.adapters.pubsub.topics.state import Push, State, Subscription, Topic
from services.adapters.pubsub.topics.wished import Consumer, labels, subscription, wished

OURS = labels("event")


def by_name(state: State) -> dict[str, Topic | Subscription]:
    return {thing.name: thing for thing in (*state.topics, *state.subscriptions)}


def verbs(steps: list[Step]) -> dict[str, str]:
    return {step.name: step.verb for step in steps}


def test_every_topic_and_subscription_of_the_catalogue_is_wished_for() -> None:
    names = by_name(wished()).keys()
    assert {row.topic for row in catalog.EVENTS} <= names
    assert {job.topic for job in catalog.JOBS} <= names
    for terms in catalog.subscriptions():
        assert {terms.name, terms.dead_letter_topic, f"{terms.dead_letter_topic}.kept"} <= names


def test_a_subscription_has_the_catalogues_terms() -> None:
    found = by_name(wished())["usage-recorded-v1.metering"]
    assert (
        Subscription(
            name="usage-recorded-v1.metering",
            topic="usage-recorded-v1",
            push=None,
            ack_deadline_s=60,
            min_backoff_s=1.0,
            max_backoff_s=60.0,
            dead_letter_topic="usage-recorded-v1.metering.dead",
            attempts=100,
            retention_s=7 * 86_400,
            expires_after_s=0,
            labels={"managed-by": "penstock", "penstock-kind": "event"},
        )
        == found
    )


def test_a_consumer_with_a_url_is_pushed_to_as_its_account_and_one_without_pulls() -> None:
    account = "push@p.iam.gserviceaccount.com"
    there = by_name(
        wished(consumers={"metering": Consumer(url="https://m.run.app/", service_account=account)})
    )

    push = Push(endpoint="https://m.run.app/", service_account=account, audience="https://m.run.app")
    assert push == there["usage-recorded-v1.metering"].push
    assert push == there["job-settle-usage.metering"].push
    assert None is there["inference-routed-v1.dispatcher"].push


def test_an_ingest_push_is_wrapped_and_names_its_tenant() -> None:
    consumers = {
        "request": Consumer(url="https://r.run.app", service_account="r@x", audience="ours"),
        "ingest-zeta.request": Consumer(url="https://z.run.app"),
    }
    there = by_name(wished(consumers=consumers, tenants=["acme", "zeta"]))

    assert (
        Push(endpoint="https://r.run.app/ingest/acme", wrapped=True, service_account="r@x", audience="ours")
        == there["ingest-acme.request"].push
    )
    assert Push(endpoint="https://z.run.app/ingest/zeta", wrapped=True) == there["ingest-zeta.request"].push
    assert labels("ingest") == there["ingest-acme"].labels


def test_a_tenant_has_a_topic_for_answers_that_keeps_nothing_and_nobody_of_ours_hears() -> None:
    goal = wished(tenants=["acme"])
    (found,) = [topic for topic in goal.topics if topic.name == "answers-acme"]
    assert (labels("answers"), 0) == (found.labels, found.retention_s)
    assert [] == [one.name for one in goal.subscriptions if one.topic == "answers-acme"]


def test_events_are_kept_to_be_replayed_and_dead_letters_until_somebody_looks() -> None:
    there = by_name(wished())
    assert 7 * 86_400 == there["usage-recorded-v1"].retention_s
    assert 0 == there["job-settle-usage"].retention_s
    kept = there["usage-recorded-v1.metering.dead.kept"]
    assert ("usage-recorded-v1.metering.dead", 31 * 86_400) == (kept.topic, kept.retention_s)
    assert (None, "", 0) == (kept.push, kept.dead_letter_topic, kept.expires_after_s)


@pytest.mark.parametrize(
    ("terms", "kept"),
    [
        (catalog.Retry(ack_deadline_s=1, min_backoff_s=0, max_backoff_s=9_999, attempts=1), (10, 0, 600, 5)),
        (
            catalog.Retry(ack_deadline_s=9_999, min_backoff_s=700, max_backoff_s=700, attempts=999),
            (600, 600, 600, 100),
        ),
    ],
)
def test_terms_beyond_what_pubsub_keeps_become_the_nearest_it_does(
    terms: catalog.Retry, kept: tuple[float, ...]
) -> None:
    found = subscription(catalog.Subscription(topic="news", consumer="reader", retry=terms), None, {})
    assert kept == (found.ack_deadline_s, found.min_backoff_s, found.max_backoff_s, found.attempts)


def test_a_place_nobody_uses_is_a_mistake() -> None:
    with pytest.raises(Invalid, match="meterng"):
        wished(consumers={"meterng": Consumer(url="https://m")})


@pytest.mark.parametrize("name", ["a b", "ä", "a" * 256])
def test_a_name_pubsub_does_not_take_is_a_mistake(name: str) -> None:
    with pytest.raises(Invalid, match="called"):
        wished(tenants=[name])


def test_from_nothing_everything_is_created_topics_first() -> None:
    goal = wished(tenants=["acme"])
    steps = plan(goal, State())

    assert {"create"} == set(verbs(steps).values())
    assert [thing.name for thing in (*goal.topics, *goal.subscriptions)] == [step.name for step in steps]
    assert [*goal.topics, *goal.subscriptions] == [step.wished for step in steps]


def test_where_all_is_as_wished_everything_is_kept() -> None:
    goal = wished(tenants=["acme"])
    assert {"keep"} == set(verbs(plan(goal, goal)).values())


def test_what_differs_is_updated_and_told() -> None:
    actual = Subscription(name="a.b", topic="a", ack_deadline_s=10, labels=OURS)
    goal = replace(actual, ack_deadline_s=60, push=Push(endpoint="https://b/", service_account="s"))
    (step,) = plan(State(subscriptions=(goal,)), State(subscriptions=(actual,)))

    assert ("update", goal, ("push", "ack_deadline_s")) == (step.verb, step.wished, step.changed)
    assert "push: none -> push to https://b/ (unwrapped, as s); ack_deadline_s: 10 -> 60" == step.detail


def test_labels_of_others_stay() -> None:
    actual = Topic(name="a", labels={"team": "x", "managed-by": "terraform"})
    goal = Topic(name="a", labels=OURS)
    (step,) = plan(State(topics=(goal,)), State(topics=(actual,)))
    assert ("update", {"team": "x", **OURS}) == (step.verb, step.wished and step.wished.labels)

    settled = replace(goal, labels={"team": "x", **OURS})
    assert ["keep"] == [one.verb for one in plan(State(topics=(goal,)), State(topics=(settled,)))]


def test_what_is_ours_and_nobody_wishes_for_is_listed_and_what_is_anothers_is_not() -> None:
    actual = State(
        topics=(Topic(name="old", labels=OURS), Topic(name="theirs")),
        subscriptions=(
            Subscription(name="old.gone", topic="old", labels=OURS),
            Subscription(name="old.theirs", topic="old", labels={"managed-by": "terraform"}),
            Subscription(name="old.watch", topic="old", labels=labels("watch")),
        ),
    )
    assert {"old": "unknown", "old.gone": "unknown"} == verbs(plan(State(), actual))


def test_a_subscription_of_another_topic_is_blocked_and_says_how_to_free_it() -> None:
    goal = Subscription(name="a.b", topic="a", labels=OURS)
    (step,) = plan(
        State(subscriptions=(goal,)), State(subscriptions=(replace(goal, topic="_deleted-topic_"),))
    )

    assert "blocked" == step.verb
    assert "topic: _deleted-topic_ -> a" in step.detail
    assert "gcloud pubsub subscriptions delete a.b" in step.detail
