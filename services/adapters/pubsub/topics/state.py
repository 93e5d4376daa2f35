"""Topics and subscriptions as values, whether wished for or found on the server."""

from events.words import Record

MANAGED_BY = "managed-by"
KIND = "penstock-kind"
OURS = "penstock"
WATCH = "watch"  # the kind of a subscription that goes by itself


class Topic(Record):
    """A topic. `retention_s`: how long it keeps messages to be replayed; 0: it keeps none itself."""

    name: str
    retention_s: int = 0
    labels: dict[str, str] = {}


class Push(Record):
    """Where Pub/Sub posts messages to: in its own wrapping, or as they are with attributes as headers.

    With a `service_account` each post carries that account's OIDC token for the `audience`.
    """

    endpoint: str
    wrapped: bool = False
    service_account: str = ""
    audience: str = ""


class Subscription(Record):
    """A subscription; without `push` it is pulled.

    A message comes again after a pause from `min_backoff_s` to `max_backoff_s` (both 0: at once), and goes
    to `dead_letter_topic` after `attempts` deliveries (no topic: it comes for ever). `retention_s`: how
    long a message waits. `expires_after_s` without a subscriber it is deleted; 0: never.
    """

    name: str
    topic: str
    push: Push | None = None
    ack_deadline_s: int = 10
    min_backoff_s: float = 0.0
    max_backoff_s: float = 0.0
    dead_letter_topic: str = ""
    attempts: int = 0
    retention_s: int = 604_800
    expires_after_s: int = 0
    labels: dict[str, str] = {}


class State(Record):
    """All topics and subscriptions there are to be, or are."""

    topics: tuple[Topic, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
