import msgspec
import pytest

from services.rehearsal.profiles import FAR_SHARE, PROFILES, Batching, Profile, Steady, paced

BATCHING = [profile for profile in PROFILES.values() if isinstance(profile.pace, Batching)]


def test_the_profiles_have_the_names_they_are_asked_for_by() -> None:
    assert ["quick", "instant", "ollama-l4", "llamacpp-l4", "vllm-l4"] == list(PROFILES)
    assert all(name == profile.name for name, profile in PROFILES.items())


def test_a_profile_can_be_changed_in_part() -> None:
    slow = msgspec.structs.replace(PROFILES["quick"], slots=1)
    assert (1, PROFILES["quick"].pace) == (slow.slots, slow.pace)


def test_a_profile_can_be_given_a_pace() -> None:
    slow = paced(PROFILES["vllm-l4"], 20)
    assert (Steady(token_s=0.05), PROFILES["vllm-l4"].slots) == (slow.pace, slow.slots)


@pytest.mark.parametrize("profile", BATCHING, ids=lambda profile: profile.name)
def test_tokens_beyond_the_window_cost_their_share_of_the_cache(profile: Profile) -> None:
    assert isinstance(profile.pace, Batching)
    assert pytest.approx(FAR_SHARE) == profile.pace.far_token_s / profile.pace.near_token_s


def test_an_iteration_is_a_sum_over_its_contexts() -> None:
    rates = Batching(weights_s=1, sequence_s=0.5, near_token_s=0.001, far_token_s=0.0001, prefill_per_s=100)
    assert pytest.approx(1 + 2 * 0.5 + (1024 + 100) * 0.001 + 976 * 0.0001) == rates.decode_s([2000, 100])
    assert 0 == rates.decode_s([])
    assert pytest.approx(2.5) == rates.prefill_s(250)
