import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rehearsal.profiles import LLAMACPP_L4, OLLAMA_L4, VLLM_L4, Batching, Profile
from services.rehearsal.schedule.batch import CHUNK, BatchSchedule
from services.rehearsal.schedule.slots import Sequence, Slots
from tests.services.rehearsal.schedule.play import play, times

# Round numbers, to read times by: an iteration takes 1 s and 0.1 s a sequence, a chunk of prompt 2 s.
RATES = Batching(weights_s=1.0, sequence_s=0.1, near_token_s=0.0, far_token_s=0.0, prefill_per_s=CHUNK / 2)


def rates_of(profile: Profile) -> Batching:
    assert isinstance(profile.pace, Batching)
    return profile.pace


def test_the_first_token_comes_when_the_prompt_is_read_then_one_each_iteration() -> None:
    sequence = Sequence(goal=3, prompt=2 * CHUNK)
    history = play(BatchSchedule(RATES, Slots()), [(10.0, sequence)])
    assert pytest.approx([14.0, 15.1, 16.2]) == times(history, sequence)


def test_reading_a_prompt_slows_those_who_decode() -> None:
    decoding, reading = Sequence(goal=4, prompt=CHUNK), Sequence(goal=1, prompt=2 * CHUNK)
    history = play(BatchSchedule(RATES, Slots()), [(0.0, decoding), (2.5, reading)])
    # 2.0 read, 3.1 decoded alone; then two iterations with 2 s of the other's prompt in each.
    assert pytest.approx([2.0, 3.1, 6.2, 9.3]) == times(history, decoding)
    assert pytest.approx([9.3]) == times(history, reading)


def test_prompts_are_read_one_at_a_time_in_the_order_they_came() -> None:
    long, short = Sequence(goal=1, prompt=3 * CHUNK), Sequence(goal=1, prompt=CHUNK)
    history = play(BatchSchedule(RATES, Slots()), [(0.0, long), (0.1, short)])
    assert [6.0] == times(history, long)
    assert [8.0] == times(history, short)


def test_what_is_cached_need_not_be_read() -> None:
    sequence = Sequence(goal=1, prompt=8 * CHUNK, uncached=CHUNK)
    assert [2.0] == times(play(BatchSchedule(RATES, Slots()), [(0.0, sequence)]), sequence)


def test_who_leaves_early_yields_nothing_more_and_makes_room() -> None:
    gone, next_one = Sequence(goal=100, prompt=CHUNK), Sequence(goal=1, prompt=CHUNK)
    history = play(BatchSchedule(RATES, Slots(1)), [(0.0, gone), (0.0, next_one)], {gone: 4.0})
    assert pytest.approx([2.0, 3.1]) == times(history, gone)
    # Its last iteration takes its time, to 4.2; the one after reads the other's prompt.
    assert pytest.approx([6.2]) == times(history, next_one)


def test_who_leaves_while_its_prompt_is_read_never_gets_a_token() -> None:
    gone, next_one = Sequence(goal=1, prompt=4 * CHUNK), Sequence(goal=1, prompt=CHUNK)
    history = play(BatchSchedule(RATES, Slots()), [(0.0, gone), (0.0, next_one)], {gone: 1.0})
    assert [] == times(history, gone)
    assert [4.0] == times(history, next_one)


def test_a_goal_of_nothing_is_reached_when_the_prompt_is_read() -> None:
    schedule = BatchSchedule(RATES, Slots())
    sequence = Sequence(goal=0, prompt=CHUNK)
    schedule.join(sequence, 0.0)
    assert [] == schedule.step()
    assert 2.0 == schedule.due()
    assert [sequence] == schedule.step()
    assert schedule.due() is None

    schedule.extend(sequence, 2, 10.0)
    assert pytest.approx([11.1, 12.2]) == times(play(schedule, []), sequence)


@pytest.mark.parametrize(
    ("profile", "batch", "tokens_per_s"),
    [
        (OLLAMA_L4, 1, 69),
        (OLLAMA_L4, 4, 86),
        (LLAMACPP_L4, 1, 73),
        (LLAMACPP_L4, 4, 231),
        (LLAMACPP_L4, 8, 360),
        (LLAMACPP_L4, 16, 502),
        (VLLM_L4, 1, 32),
        (VLLM_L4, 4, 120),
        (VLLM_L4, 8, 225),
        (VLLM_L4, 16, 399),
        (VLLM_L4, 32, 650),
    ],
)
def test_a_batch_decodes_at_the_profiles_rate(profile: Profile, batch: int, tokens_per_s: int) -> None:
    batched = [Sequence(goal=60, prompt=1000, uncached=1) for _ in range(batch)]
    history = play(BatchSchedule(rates_of(profile), Slots(profile.slots)), [(0.0, s) for s in batched])
    # From when the last has begun: all decode, and nothing is read any more.
    began = times(history, batched[-1])[0]
    full = [at for at in times(history, batched[0]) if at >= began]
    assert pytest.approx(tokens_per_s, rel=0.02) == batch * (len(full) - 1) / (full[-1] - full[0])


@given(
    contexts=st.lists(st.integers(1, 5000), min_size=1, max_size=16),
    profile=st.sampled_from([OLLAMA_L4, LLAMACPP_L4, VLLM_L4]),
)
def test_every_iteration_takes_what_the_formula_says(contexts: list[int], profile: Profile) -> None:
    rates = rates_of(profile)
    schedule = BatchSchedule(rates, Slots())
    batched = [Sequence(goal=1, prompt=context - 1, uncached=1) for context in contexts]
    for sequence in batched:
        schedule.join(sequence, 0.0)
    while (due := schedule.due()) is not None:  # every prompt is read, every first token made
        schedule.step()
        read_by = due
    for sequence in batched:
        schedule.extend(sequence, 2, read_by)
    schedule.step()
    near = sum(min(context, 1024) for context in contexts)
    far = sum(max(context - 1024, 0) for context in contexts)
    took = (
        rates.weights_s
        + rates.sequence_s * len(contexts)
        + rates.near_token_s * near
        + rates.far_token_s * far
    )
    assert pytest.approx(read_by + took) == schedule.due()
    assert set(batched) == set(schedule.step())
