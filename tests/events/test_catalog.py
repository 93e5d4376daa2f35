import re
from pathlib import Path

import pytest

from events.answer import AnswerReady
from events.catalog import EVENTS, JOBS, KNOWN, answers_topic, ingest_subscription, subscriptions
from events.envelope import Event, type_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("wire_type", KNOWN)
def test_types_are_lower_case_words_and_a_version(wire_type: str) -> None:
    assert re.fullmatch(r"penstock\.[a-z]+\.[a-z]+(-[a-z]+)*\.v[1-9]", wire_type)


def test_every_event_class_is_in_the_catalogue() -> None:
    assert {type_of(event) for event in Event.__subclasses__() if event.__module__.startswith("events.")} == {
        *KNOWN
    }


def test_topics_belong_to_one_event_or_job() -> None:
    topics = [row.topic for row in (*EVENTS, *JOBS)]
    assert len(topics) == len(set(topics))


def test_subscriptions_have_names_of_their_own() -> None:
    names = [name for one in subscriptions() for name in (one.name, one.dead_letter_topic)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name", sorted({name for row in EVENTS for name in (*row.producers, *row.consumers)})
)
def test_who_speaks_and_listens_is_a_folder(name: str) -> None:
    assert (ROOT / "functions" / name).is_dir() or (ROOT / "services" / name).is_dir()


def test_a_job_is_retried_by_its_own_terms_and_a_backup_may_take_as_long_as_pubsub_waits() -> None:
    terms = {one.topic: one.retry for one in subscriptions()}

    assert {job.topic: job.retry for job in JOBS}.items() <= terms.items()
    assert 600 == terms["job-take-backup"].ack_deadline_s
    assert all(10 <= retry.ack_deadline_s <= 600 for retry in terms.values())


def test_an_ingest_topic_is_its_tenants_own() -> None:
    subscription = ingest_subscription("acme")
    assert ("ingest-acme", "request") == (subscription.topic, subscription.consumer)
    assert "ingest-acme.request.dead" == subscription.dead_letter_topic


def test_answers_in_clear_have_no_topic_but_their_tenants_own() -> None:
    # What operators watch, and what is kept for a replay, are the topics of the rows.
    assert "answers-acme" == answers_topic("acme")
    assert AnswerReady not in {row.event for row in EVENTS}
