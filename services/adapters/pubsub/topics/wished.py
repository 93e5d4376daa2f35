"""What the catalogue asks Pub/Sub for."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from events import catalog
from events.words import Invalid, Record
from services.adapters.pubsub.topics.state import KIND, MANAGED_BY, OURS, Push, State, Subscription, Topic

DAY_S = 86_400
KEPT = "kept"
EMULATOR_KEEPS_S = 7 * DAY_S
LONGEST_KEPT_DAYS = 31  # of Pub/Sub; its emulator takes 7

# Pub/Sub's limits of https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions
SHORTEST_ACK_DEADLINE_S, LONGEST_ACK_DEADLINE_S = 10, 600
LONGEST_BACKOFF_S = 600.0
FEWEST_ATTEMPTS, MOST_ATTEMPTS = 5, 100
NAME = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")


class Consumer(Record):
    """Where a consumer takes pushes: its base URL, and the service account that posts to it.

    `audience` of its token: the base URL unless it is given.
    """

    url: str
    service_account: str = ""
    audience: str = ""


def wished(
    *,
    consumers: Mapping[str, Consumer] | None = None,
    tenants: Sequence[str] = (),
    dead_letters_kept_days: int = LONGEST_KEPT_DAYS,
) -> State:
    """Everything the catalogue names, and each tenant's topics for requests and for answers.

    `consumers` says by name where each takes pushes; the name of a single subscription wins over its
    consumer's. A consumer without an entry pulls. Raises `Invalid` for an entry nobody uses and a name
    Pub/Sub does not take.
    """
    topics = {topic.name: topic for topic in _topics(tenants)}
    ingest = {catalog.ingest_subscription(tenant).name: tenant for tenant in tenants}
    feeds = [*catalog.subscriptions(), *map(catalog.ingest_subscription, ingest.values())]
    places = dict(consumers or {})
    _check_used(places, feeds)
    subscriptions: list[Subscription] = []
    for terms in feeds:
        push = _push(terms, places, ingest.get(terms.name))
        dead = Topic(name=terms.dead_letter_topic, labels=labels("dead-letter"))
        topics[dead.name] = dead
        subscriptions += [
            subscription(terms, push, topics[terms.topic].labels),
            keeper(dead, dead_letters_kept_days),
        ]
    _check_names([*topics, *(one.name for one in subscriptions)])
    return State(topics=tuple(topics.values()), subscriptions=tuple(subscriptions))


def labels(kind: str) -> dict[str, str]:
    """What marks a topic or a subscription as ours."""
    return {MANAGED_BY: OURS, KIND: kind}


def _topics(tenants: Iterable[str]) -> Iterator[Topic]:
    for row in catalog.EVENTS:
        yield Topic(name=row.topic, retention_s=row.retention_days * DAY_S, labels=labels("event"))
    for job in catalog.JOBS:
        yield Topic(name=job.topic, labels=labels("job"))
    for tenant in tenants:
        yield Topic(name=catalog.ingest_topic(tenant), labels=labels("ingest"))
        # It keeps nothing for those who subscribe later: what is on it is in clear.
        yield Topic(name=catalog.answers_topic(tenant), labels=labels("answers"))


def _push(terms: catalog.Subscription, places: Mapping[str, Consumer], tenant: str | None) -> Push | None:
    """An ingest push keeps its wrapping, or a publisher's attributes would become headers."""
    place = places.get(terms.name) or places.get(terms.consumer)
    if place is None:
        return None
    base = place.url.rstrip("/")
    return Push(
        endpoint=f"{base}/" if tenant is None else f"{base}/ingest/{tenant}",
        wrapped=tenant is not None,
        service_account=place.service_account,
        audience=(place.audience or base) if place.service_account else "",
    )


def subscription(terms: catalog.Subscription, push: Push | None, labels: dict[str, str]) -> Subscription:
    """A subscription by the catalogue's terms, as far as Pub/Sub can keep them."""
    retry = terms.retry
    return Subscription(
        name=terms.name,
        topic=terms.topic,
        push=push,
        ack_deadline_s=_clamp(SHORTEST_ACK_DEADLINE_S, retry.ack_deadline_s, LONGEST_ACK_DEADLINE_S),
        min_backoff_s=min(retry.min_backoff_s, LONGEST_BACKOFF_S),
        max_backoff_s=min(retry.max_backoff_s, LONGEST_BACKOFF_S),
        dead_letter_topic=terms.dead_letter_topic,
        attempts=_clamp(FEWEST_ATTEMPTS, retry.attempts, MOST_ATTEMPTS),
        labels=labels,
    )


def keeper(dead: Topic, kept_days: int) -> Subscription:
    """A topic without a subscription keeps nothing: this one keeps dead letters until somebody looks."""
    return Subscription(
        name=f"{dead.name}.{KEPT}", topic=dead.name, retention_s=kept_days * DAY_S, labels=dead.labels
    )


def on_emulator(state: State) -> State:
    """The same as far as the emulator can keep it: dead letters for a week, and pushes that come again every
    second, at most a hundred times. With a retry policy it pushes three times and then no more (seen with
    the emulator of google-cloud-cli, November 2026).
    """
    return State(topics=state.topics, subscriptions=tuple(map(_as_the_emulator_can, state.subscriptions)))


def _as_the_emulator_can(one: Subscription) -> Subscription:
    kept_s = min(one.retention_s, EMULATOR_KEEPS_S)
    if one.push is None or not one.max_backoff_s:
        return replace(one, retention_s=kept_s)
    return replace(one, retention_s=kept_s, min_backoff_s=0.0, max_backoff_s=0.0, attempts=MOST_ATTEMPTS)


def _clamp(least: int, value: int, most: int) -> int:
    return min(most, max(least, value))


def _check_used(places: Mapping[str, Consumer], feeds: Iterable[catalog.Subscription]) -> None:
    used = {name for terms in feeds for name in (terms.name, terms.consumer)}
    if unused := sorted(places.keys() - used):
        raise Invalid(f"No consumer or subscription is called {', '.join(unused)}.")


def _check_names(names: Iterable[str]) -> None:
    if wrong := [name for name in names if not NAME.fullmatch(name)]:
        raise Invalid(f"Pub/Sub takes no topic or subscription called {', '.join(wrong)}.")
