"""Reading and changing topics and subscriptions on the server: for a command or a job, for it blocks."""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from events.words import Conflict, Invalid, PenstockError, Unavailable
from services.adapters.pubsub.connection import NO_IDENTITY, Place
from services.adapters.pubsub.topics import wire
from services.adapters.pubsub.topics.plan import Step
from services.adapters.pubsub.topics.state import State, Subscription, Topic

TIMEOUT_S = 30.0
AT_ONCE = 8  # a call takes a tenth of a second or more, and every tenant needs four

T = TypeVar("T")


class TopicsServer:
    """The topics and subscriptions of one project, through the official client, imported when one is made.

    It acts as the process's own identity; on an emulator as nobody. Raises `Unavailable` where Pub/Sub
    cannot be reached or the identity may not, `Invalid` where it refuses what is asked for.
    """

    def __init__(self, place: Place, *, timeout_s: float = TIMEOUT_S) -> None:
        self._place = place
        self._topics, self._subscriptions = _clients(place)
        self._bounds = _bounds(timeout_s)

    def close(self) -> None:
        """Ends its connections."""
        self._topics.transport.close()
        self._subscriptions.transport.close()

    def read(self) -> State:
        """Everything there is in the project, ours or not."""
        project = {"project": f"projects/{self._place.project}"}
        what = f"project {self._place.project}"
        topics = self._ask(what, lambda: list(self._topics.list_topics(project, **self._bounds)))
        subscriptions = self._ask(
            what, lambda: list(self._subscriptions.list_subscriptions(project, **self._bounds))
        )
        return State(
            topics=tuple(map(wire.topic_found, topics)),
            subscriptions=tuple(map(wire.subscription_found, subscriptions)),
        )

    def apply(self, steps: Sequence[Step]) -> list[Step]:
        """Creates and updates; returns the steps that were done. It may be run again at any time.

        Where some steps fail the others are done all the same, and the first failure is raised.
        Raises `Conflict` in the end where steps are blocked.
        """
        todo = [step for step in steps if step.verb in ("create", "update")]
        for kind in ("topic", "subscription"):  # a subscription needs its topics
            self._all([step for step in todo if step.kind == kind])
        if blocked := [f"{step.name} ({step.detail})" for step in steps if step.verb == "blocked"]:
            raise Conflict(f"All was done but for: {'; '.join(blocked)}.")
        return todo

    def _all(self, steps: Sequence[Step]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            failures = [failure for failure in pool.map(self._try, steps) if failure is not None]
        if failures:
            raise failures[0]

    def _try(self, step: Step) -> PenstockError | None:
        try:
            self._ask(f"{step.kind} {step.name}", functools.partial(self._do, step))
        except PenstockError as error:
            return error
        return None

    def _do(self, step: Step) -> None:
        if isinstance(step.wished, Topic):
            request = wire.topic_request(step.wished, self._place)
            create, update = self._topics.create_topic, self._topics.update_topic
        elif isinstance(step.wished, Subscription):
            request = wire.subscription_request(step.wished, self._place)
            create, update = self._subscriptions.create_subscription, self._subscriptions.update_subscription
        else:
            return
        if step.verb == "create":
            _unless_there(lambda: create(request, **self._bounds))
        else:
            update({step.kind: request, "update_mask": wire.mask(step.changed)}, **self._bounds)

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

        try:
            return call()
        except GoogleAuthError as error:
            raise Unavailable(NO_IDENTITY) from error
        except GoogleAPIError as error:
            raise _in_our_words(error, what) from error


def _clients(place: Place) -> tuple[Any, Any]:
    """The official clients of topics and of subscriptions; they take a second to import."""
    import google.auth.exceptions  # noqa: PLC0415
    from google.pubsub_v1 import PublisherClient, SubscriberClient  # noqa: PLC0415

    if place.emulator is None:
        try:
            return PublisherClient(), SubscriberClient()
        except google.auth.exceptions.GoogleAuthError as error:
            raise Unavailable(NO_IDENTITY) from error
    return _on_emulator(PublisherClient, place.emulator), _on_emulator(SubscriberClient, place.emulator)


def _on_emulator(client: Any, address: str) -> Any:
    import grpc  # noqa: PLC0415

    return client(transport=client.get_transport_class("grpc")(channel=grpc.insecure_channel(address)))


def _bounds(timeout_s: float) -> dict[str, Any]:
    """How long a call may take, tries after a failed connection included."""
    from google.api_core.exceptions import ServiceUnavailable  # noqa: PLC0415
    from google.api_core.retry import Retry, if_exception_type  # noqa: PLC0415

    retry = Retry(predicate=if_exception_type(ServiceUnavailable), initial=0.2, timeout=timeout_s)
    return {"retry": retry, "timeout": timeout_s}


def _unless_there(create: Callable[[], object]) -> None:
    """Somebody else may have created it since the plan was made."""
    from google.api_core.exceptions import AlreadyExists  # noqa: PLC0415

    with suppress(AlreadyExists):
        create()


def _in_our_words(error: Any, what: str) -> PenstockError:
    """Here the server's own sentence is told: it speaks of names and settings only."""
    from google.api_core import exceptions  # noqa: PLC0415

    sentence = getattr(error, "message", "") or type(error).__name__
    if isinstance(error, (exceptions.Forbidden, exceptions.Unauthorized)):
        return Unavailable(f"This identity may not touch the {what} (role roles/pubsub.editor): {sentence}.")
    if isinstance(error, exceptions.NotFound):
        return Conflict(f"The {what}, or what it needs, is not there; plan again: {sentence}.")
    if isinstance(error, exceptions.ClientError) and not isinstance(error, exceptions.TooManyRequests):
        return Invalid(f"Pub/Sub refuses the {what}: {sentence}.")
    return Unavailable(f"Pub/Sub did not answer for the {what}: {sentence}.")
