"""How fast an engine is and how much it takes on, as data; the L4 figures are derived, not yet measured."""

from collections.abc import Iterable

import msgspec

from events.words import Record

WINDOW = 1024  # tokens of context that every layer of Gemma 3 attends to
FAR_SHARE = 20.5 / 139  # of the KV cache's bytes per token, what is left of them beyond the window


class Steady(Record):
    """Every sequence decodes at its own pace, whatever the others do; prompts cost no time."""

    token_s: float


class Batching(Record):
    """One iteration at a time decodes a token of every sequence, and the more there are the longer it takes.

    An iteration takes W + a*B + k * sum(min(ctx, 1024)) + k2 * sum(max(ctx - 1024, 0)) for a batch of B
    contexts, and a piece of prompt read along the way adds its tokens / P.
    """

    weights_s: float  # W
    sequence_s: float  # a
    near_token_s: float  # k
    far_token_s: float  # k2
    prefill_per_s: float  # P

    def decode_s(self, contexts: Iterable[int]) -> float:
        """How long one iteration decodes; nothing where there is nothing to decode."""
        size = near = far = 0
        for context in contexts:
            size += 1
            near += min(context, WINDOW)
            far += max(context - WINDOW, 0)
        if not size:
            return 0.0
        return self.weights_s + self.sequence_s * size + self.near_token_s * near + self.far_token_s * far

    def prefill_s(self, tokens: int) -> float:
        """How long it takes to read that much of a prompt."""
        return tokens / self.prefill_per_s


class Profile(Record):
    """One kind of engine. None for `slots` or `queue` (how many requests may wait) means any number.

    For `start_up_s` after its start it answers 503. It remembers the prompts of up to `prefixes`
    messages, and does not read again what it has seen.
    """

    name: str
    pace: Steady | Batching
    slots: int | None = None
    queue: int | None = None
    start_up_s: float = 0.0
    prefixes: int = 0


QUICK = Profile(name="quick", pace=Steady(token_s=0.005), slots=64)
INSTANT = Profile(name="instant", pace=Steady(token_s=0.0))
OLLAMA_L4 = Profile(
    name="ollama-l4",
    pace=Batching(
        weights_s=0.004,
        sequence_s=0.0105,
        near_token_s=1.1e-7,
        far_token_s=1.1e-7 * FAR_SHARE,
        prefill_per_s=3500,
    ),
    slots=4,
    queue=512,
    start_up_s=20.0,
    prefixes=4096,
)
LLAMACPP_L4 = Profile(
    name="llamacpp-l4",
    pace=Batching(
        weights_s=0.0125,
        sequence_s=0.0011,
        near_token_s=1.1e-7,
        far_token_s=1.1e-7 * FAR_SHARE,
        prefill_per_s=3500,
    ),
    slots=16,
    start_up_s=20.0,
    prefixes=4096,
)
VLLM_L4 = Profile(
    name="vllm-l4",
    pace=Batching(
        weights_s=0.031,
        sequence_s=0.00035,
        near_token_s=2.2e-7,
        far_token_s=2.2e-7 * FAR_SHARE,
        prefill_per_s=6500,
    ),
    slots=32,
    start_up_s=120.0,
    prefixes=4096,
)


def paced(profile: Profile, tokens_per_s: float) -> Profile:
    """The profile, but each answer has so many tokens a second."""
    return msgspec.structs.replace(profile, pace=Steady(token_s=1 / tokens_per_s))


PROFILES = {p.name: p for p in (QUICK, INSTANT, OLLAMA_L4, LLAMACPP_L4, VLLM_L4)}
