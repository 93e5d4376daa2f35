"""The catalogue's topics and subscriptions in Pub/Sub: the wiring of `penstock topics apply`."""

from collections.abc import Mapping, Sequence

from events.catalog import answers_topic, ingest_topic, subscriptions
from events.words import Invalid, Record
from services.adapters.pubsub.connection import Place
from services.adapters.pubsub.topics.plan import Step, plan
from services.adapters.pubsub.topics.server import TopicsServer
from services.adapters.pubsub.topics.state import State
from services.adapters.pubsub.topics.wished import LONGEST_KEPT_DAYS, Consumer, on_emulator, wished

PULLS = frozenset({"dispatcher"})  # a worker pool has no URL


class Wish(Record):
    """What is wished beside the catalogue: `push` is the base URL of each consumer, `tenants` have topics
    for requests and for answers. Pushes carry a token of the `service_account`.
    """

    push: Mapping[str, str]
    tenants: Sequence[str] = ()
    service_account: str = ""
    kept_days: int = LONGEST_KEPT_DAYS


def pushed() -> list[str]:
    """The consumers that are pushed to."""
    return sorted({one.consumer for one in subscriptions()} - PULLS | {"request"})


def apply(place: Place, wish: Wish, *, dry_run: bool) -> list[Step]:
    """The steps that were done or, in a dry run, would be; those that do nothing among them.

    Raises `Invalid` where a consumer has no URL: its subscriptions would be made to be pulled, by nobody.
    """
    if lacking := [name for name in pushed() if name not in wish.push]:
        raise Invalid(f"Say where these take pushes: {', '.join(lacking)}, each as --push NAME=URL.")
    consumers = {
        name: Consumer(url=url, service_account=wish.service_account) for name, url in wish.push.items()
    }
    target = wished(
        consumers=consumers,
        tenants=wish.tenants,
        dead_letters_kept_days=wish.kept_days,
    )
    server = TopicsServer(place)
    try:
        steps = plan(on_emulator(target) if place.emulator else target, server.read())
        if not dry_run:
            server.apply(steps)
    finally:
        server.close()
    return steps


def enable_ingest(place: Place, tenant: str, url: str, service_account: str) -> list[Step]:
    """Makes a tenant's topics for requests and for answers, and lets the former push to the request function
    at `url`.
    """
    consumers = {"request": Consumer(url=url, service_account=service_account)}
    everything = wished(consumers=consumers, tenants=[tenant])
    if place.emulator:
        everything = on_emulator(everything)
    target = State(
        topics=tuple(one for one in everything.topics if _belongs(one.name, tenant)),
        subscriptions=tuple(one for one in everything.subscriptions if _belongs(one.name, tenant)),
    )
    server = TopicsServer(place)
    try:
        steps = [step for step in plan(target, server.read()) if _belongs(step.name, tenant)]
        server.apply(steps)
    finally:
        server.close()
    return steps


def _belongs(name: str, tenant: str) -> bool:
    ingest = ingest_topic(tenant)
    return name in (ingest, answers_topic(tenant)) or name.startswith(f"{ingest}.")


def place_of(project: str, emulator: str | None) -> Place:
    """Where Pub/Sub is."""
    return Place(project=project, emulator=emulator)
