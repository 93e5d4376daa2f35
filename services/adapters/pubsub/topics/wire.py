"""Topics and subscriptions as the official client takes and gives them."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from services.adapters.pubsub.connection import Place
from services.adapters.pubsub.topics.state import Push, Subscription, Topic

DEFAULT_EXPIRY_S = 31 * 86_400  # of a subscription that says nothing about it

# Which field of the API holds each of ours.
_FIELDS = {
    "labels": "labels",
    "retention_s": "message_retention_duration",
    "push": "push_config",
    "ack_deadline_s": "ack_deadline_seconds",
    "min_backoff_s": "retry_policy",
    "max_backoff_s": "retry_policy",
    "dead_letter_topic": "dead_letter_policy",
    "attempts": "dead_letter_policy",
    "expires_after_s": "expiration_policy",
}


def mask(changed: Iterable[str]) -> dict[str, list[str]]:
    """The update mask for these fields of ours."""
    return {"paths": sorted({_FIELDS[name] for name in changed})}


def topic_request(topic: Topic, place: Place) -> dict[str, Any]:
    """A topic as the API takes it."""
    request: dict[str, Any] = {"name": place.topic(topic.name), "labels": topic.labels}
    if topic.retention_s:
        request["message_retention_duration"] = timedelta(seconds=topic.retention_s)
    return request


def topic_found(found: Any) -> Topic:
    """A topic as the API gives it."""
    return Topic(
        name=_short(found.name),
        retention_s=int(_seconds(found.message_retention_duration)),
        labels=dict(found.labels),
    )


def subscription_request(subscription: Subscription, place: Place) -> dict[str, Any]:
    """A subscription as the API takes it."""
    request: dict[str, Any] = {
        "name": place.subscription(subscription.name),
        "topic": place.topic(subscription.topic),
        "push_config": _push_config(subscription.push),
        "ack_deadline_seconds": subscription.ack_deadline_s,
        "message_retention_duration": timedelta(seconds=subscription.retention_s),
        "labels": subscription.labels,
        "expiration_policy": {},  # never
    }
    if subscription.expires_after_s:
        request["expiration_policy"] = {"ttl": timedelta(seconds=subscription.expires_after_s)}
    if subscription.max_backoff_s:
        request["retry_policy"] = {
            "minimum_backoff": timedelta(seconds=subscription.min_backoff_s),
            "maximum_backoff": timedelta(seconds=subscription.max_backoff_s),
        }
    if subscription.dead_letter_topic:
        request["dead_letter_policy"] = {
            "dead_letter_topic": place.topic(subscription.dead_letter_topic),
            "max_delivery_attempts": subscription.attempts,
        }
    return request


def _push_config(push: Push | None) -> dict[str, Any]:
    if push is None:
        return {}
    config: dict[str, Any] = {"push_endpoint": push.endpoint}
    if not push.wrapped:
        config["no_wrapper"] = {"write_metadata": True}
    if push.service_account:
        config["oidc_token"] = {"service_account_email": push.service_account, "audience": push.audience}
    return config


def subscription_found(found: Any) -> Subscription:
    """A subscription as the API gives it."""
    return Subscription(
        name=_short(found.name),
        topic=_short(found.topic),
        push=_push_found(found.push_config),
        ack_deadline_s=found.ack_deadline_seconds,
        min_backoff_s=_seconds(found.retry_policy.minimum_backoff),
        max_backoff_s=_seconds(found.retry_policy.maximum_backoff),
        dead_letter_topic=_short(found.dead_letter_policy.dead_letter_topic),
        attempts=found.dead_letter_policy.max_delivery_attempts,
        retention_s=int(_seconds(found.message_retention_duration)),
        expires_after_s=_expiry_s(found),
        labels=dict(found.labels),
    )


def _push_found(config: Any) -> Push | None:
    if not config.push_endpoint:
        return None
    return Push(
        endpoint=config.push_endpoint,
        wrapped="no_wrapper" not in config,
        service_account=config.oidc_token.service_account_email,
        audience=config.oidc_token.audience,
    )


def _expiry_s(found: Any) -> int:
    if "expiration_policy" not in found:
        return DEFAULT_EXPIRY_S
    return int(_seconds(found.expiration_policy.ttl))


def _seconds(duration: timedelta | None) -> float:
    return duration.total_seconds() if duration else 0.0


def _short(full_name: str) -> str:
    return full_name.rpartition("/")[2]
