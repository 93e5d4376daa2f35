import msgspec

from functions.request.admission import ChatMessage
from services.rehearsal.schedule.prefix import PrefixCache, prefix_keys


def conversation(*said: str) -> list[ChatMessage]:
    return [
        ChatMessage(
            role="user" if turn % 2 == 0 else "assistant", content=msgspec.Raw(msgspec.json.encode(text))
        )
        for turn, text in enumerate(said)
    ]


def test_a_conversation_that_goes_on_is_known_up_to_what_is_new() -> None:
    cache = PrefixCache(10)
    cache.remember(cache.keys(conversation("a", "b", "c")))
    assert 3 == cache.match(cache.keys(conversation("a", "b", "c", "d", "e")))
    assert 3 == cache.match(cache.keys(conversation("a", "b", "c")))
    assert 2 == cache.match(cache.keys(conversation("a", "b", "x")))
    assert 0 == cache.match(cache.keys(conversation("b", "c")))


def test_who_said_it_and_where_a_message_ends_makes_a_difference() -> None:
    keys = {
        tuple(prefix_keys(messages))
        for messages in (
            conversation("ab", "c"),
            conversation("a", "bc"),
            conversation("abc"),
            [ChatMessage(role="system", content=msgspec.Raw(b'"abc"'))],
        )
    }
    assert 4 == len(keys)


def test_the_longest_unused_are_forgotten_first() -> None:
    cache = PrefixCache(2)
    first, second, third = (cache.keys(conversation(text)) for text in ("1", "2", "3"))
    cache.remember(first)
    cache.remember(second)
    cache.remember(first)
    cache.remember(third)
    assert [1, 0, 1] == [cache.match(keys) for keys in (first, second, third)]


def test_of_a_long_conversation_the_beginning_is_kept() -> None:
    cache = PrefixCache(2)
    cache.remember(cache.keys(conversation("a", "b", "c", "d")))
    assert 2 == cache.match(cache.keys(conversation("a", "b")))


def test_without_entries_nothing_is_known() -> None:
    cache = PrefixCache(0)
    keys = cache.keys(conversation("a"))
    cache.remember(keys)
    assert [] == keys
    assert 0 == cache.match(keys)
