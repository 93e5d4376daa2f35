"""Where Pub/Sub differs from a bus of our own: tests of the contract suite it takes no part in.

`python -m tests.cloud.pubsub.gaps` prints them as a table. What holds on Pub/Sub instead is tested in
this folder.
"""

CLOCK = "leases and backoffs run by the server's clock, which a test cannot move"
TIME = "a message bears the time the server published it"
ORDER = "messages come roughly oldest first, and a receiver gets what has arrived"
BACKLOG = "the backlog is a metric of Cloud Monitoring; the service itself does not tell it"
DEAD_LETTERS = "dead letters are messages on a topic of their own, kept by its subscription"
RELEASE = "leases belong to the server; a process that closes gives back what it holds"
WATCH = "looking on needs a subscription, made first"

GAPS = {
    "test_a_message_arrives_as_it_was_published": TIME,
    "test_messages_come_oldest_first_and_at_most_as_many_as_asked_for": ORDER,
    "test_each_subscription_gets_its_own_copy_of_what_follows_its_declaration": BACKLOG,
    "test_an_acknowledged_message_never_comes_again": CLOCK,
    "test_acknowledging_is_idempotent_and_survives_unknown_ids": BACKLOG,
    "test_a_message_comes_again_from_the_moment_its_lease_ends": CLOCK,
    "test_a_late_ack_ends_a_message_that_was_leased_again": CLOCK,
    "test_older_messages_that_come_again_come_before_younger_ones": CLOCK,
    "test_refused_messages_come_again_after_a_backoff_that_doubles": CLOCK,
    "test_a_message_refused_at_its_last_attempt_becomes_a_dead_letter": DEAD_LETTERS,
    "test_a_dead_letter_is_forgotten_after_a_month": DEAD_LETTERS,
    "test_a_message_never_answered_becomes_a_dead_letter": CLOCK,
    "test_a_message_nobody_can_handle_is_put_aside_at_once_with_the_reason": DEAD_LETTERS,
    "test_a_dead_letter_put_back_starts_again_at_its_first_attempt": DEAD_LETTERS,
    "test_a_waiting_receiver_is_woken_by_a_publisher": TIME,
    "test_more_than_a_waiting_receiver_asked_for_is_left_for_the_next": ORDER,
    "test_every_message_of_many_publishers_is_delivered_once": BACKLOG,
    "test_a_publisher_that_left_publishes_all_the_same_or_not_at_all": BACKLOG,
    "test_what_waits_for_a_receiver_that_left_is_not_delivered_under_a_lease_that_ended": CLOCK,
    "test_ending_all_leases_brings_the_messages_back_with_their_attempts_counted": RELEASE,
    "test_ending_all_leases_leaves_a_backoff_as_it_is": RELEASE,
    "test_a_watch_shows_everything_published_since_it_began": WATCH,
    "test_a_slow_watch_loses_the_oldest_and_holds_nobody_up": WATCH,
    "test_closing_a_watch_ends_it": WATCH,
    "test_a_waiting_receiver_wakes_by_itself_when_a_lease_ends": CLOCK,
    "test_a_waiting_receiver_wakes_by_itself_when_a_backoff_ends": CLOCK,
}


def table() -> str:
    """The gaps in Markdown."""
    rows = (f"| {name.removeprefix('test_').replace('_', ' ')} | {why} |" for name, why in GAPS.items())
    return "\n".join(["| contract | on Pub/Sub |", "|---|---|", *rows])


if __name__ == "__main__":
    print(table())
